"""Terminals: a pseudo-terminal for a container, window sizes, raw mode for the user's own.

Interface: open_pty(ptmx), slave_name(master), window_size(fd), set_window_size(fd, rows, columns), raw(fd), restore(fd, saved).
Man pages: pty(7), ioctl_tty(2), termios(3). The same from a shell: stty size; stty raw -echo. Notebook: 20_life.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from minidocker.errors import SyscallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Saved = list[int | list[bytes | int]]

TIOCGPTN, TIOCSPTLCK = 0x80045430, 0x40045431


def open_pty(ptmx: str = "/dev/ptmx") -> tuple[int, str]:
    """Open a new pseudo-terminal through *ptmx*: its master's descriptor and the slave's name beside it. See pty(7).

    The pair belongs to the devpts instance of *ptmx*: for a container, its own.
    """
    try:
        master = os.open(ptmx, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise SyscallError("open", error.errno or 0, ptmx) from error
    number = struct.unpack("I", fcntl.ioctl(master, TIOCGPTN, b"\0" * 4))[0]
    fcntl.ioctl(master, TIOCSPTLCK, struct.pack("i", 0))  # a fresh slave is locked
    beside = os.path.dirname(os.path.realpath(ptmx))
    # A /dev/ptmx that is no link into /dev/pts but a device of its own stands for the devpts that lies beside it.
    return master, f"{beside}/{number}" if os.path.exists(f"{beside}/{number}") else f"{beside}/pts/{number}"


def make_controlling(slave: int) -> None:
    """Make *slave* the terminal of this session, which we must lead: so ctrl-C reaches the foreground job. See ioctl_tty(2)."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def window_size(fd: int) -> tuple[int, int]:
    """(rows, columns) of the terminal. SyscallError ENOTTY: not a terminal."""
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError as error:
        raise SyscallError("ioctl TIOCGWINSZ", error.errno or 0) from error
    return rows, columns


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Tell the terminal its size; its foreground job gets SIGWINCH. *fd*: either side of the pair."""
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    except OSError as error:
        raise SyscallError("ioctl TIOCSWINSZ", error.errno or 0) from error


def raw(fd: int) -> Saved:
    """Pass every key through as it is (no echo, no lines, no signals); returns what `restore` needs. See cfmakeraw in termios(3)."""
    saved: Saved = termios.tcgetattr(fd)
    mode: Saved = list(saved)
    iflag, oflag, cflag, lflag = (int(flag) for flag in saved[:4] if isinstance(flag, int))
    iflag &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[:4] = [iflag, oflag, cflag, lflag]
    termios.tcsetattr(fd, termios.TCSAFLUSH, mode)
    return saved


def restore(fd: int, saved: Saved) -> None:
    """Put the terminal back as it was before `raw`."""
    termios.tcsetattr(fd, termios.TCSADRAIN, saved)
