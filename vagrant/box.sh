#!/usr/bin/env bash
# Builds the course's machine as a Vagrant box for libvirt and QEMU, from Debian's packages: make box
#
#   vagrant/box.sh OUT.box       as root, amd64
#   vagrant/box.sh --key         print the key of the inputs
#
# Everything is in it: packages, Python environment, base image, registry, and the lessons as they are now, so `vagrant up` with it
# needs no network. What takes long (packages and environment) is kept in $BOX_CACHE under a key of its inputs.
# MIRROR: a Debian mirror. PIP_* and the machine's own certificates are honoured while building.
#
# All of it runs in namespaces of its own: killed halfway it leaves files, no mounts or processes, and the next run removes those.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=bookworm
mirror=${MIRROR:-http://deb.debian.org/debian}
cache=${BOX_CACHE:-/var/cache/minidocker-box}
disk_gib=16
uuid=6d696e69-646f-636b-6572-000000000001

die() {
    printf 'box.sh: %s\n' "$@" >&2
    exit 1
}

# The inputs of what is kept: this script, the provisioning, the lists of packages. The project's own code is not among them.
key() {
    (cd "$top" && sha256sum vagrant/box.sh vagrant/packages.sh vagrant/provision.sh vagrant/minidocker-lab.service pyproject.toml &&
        echo "$suite") | sha256sum | cut -c1-16
}

started=$SECONDS
say() {
    echo "   $1 ($((SECONDS - started)) s)"
    started=$SECONDS
}

# The project as git has it, changes included, without what is ignored.
copy_project() {
    mkdir -p "$1"
    (cd "$top" && git ls-files -z --cached --others --exclude-standard --deduplicate | tar --create --null --files-from=- \
        --ignore-failed-read --owner=0 --group=0 2>/dev/null) | tar --extract --directory="$1"
}

in_tree() {
    chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        ${PIP_FIND_LINKS:+PIP_FIND_LINKS="$PIP_FIND_LINKS"} ${PIP_INDEX_URL:+PIP_INDEX_URL="$PIP_INDEX_URL"} "$@"
}

make_tree() {
    local guest_packages
    guest_packages=dbus,e2fsprogs,grub-pc-bin,grub2-common,ifupdown,isc-dhcp-client,kmod,less,linux-image-cloud-amd64,openssh-server
    guest_packages+=,rsync,skopeo,sudo,systemd,systemd-sysv,udev,vim-tiny,zstd,$(
        "$top/vagrant/packages.sh" --list base registry | paste --serial --delimiters=,)
    mmdebstrap --quiet --variant=minbase --components=main --include="$guest_packages" \
        --customize-hook='rm -f "$1"/etc/ssh/ssh_host_*' "$suite" "$tree" "$mirror" \
        || die "mmdebstrap failed; its message is above. Is the mirror $mirror reachable? Another one: make box MIRROR=http://..."
    say "Debian $suite"

    in_tree useradd --create-home --shell /bin/bash vagrant
    echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/vagrant"
    # Vagrant's public key, which is no secret: at the first start Vagrant replaces it by one of its own.
    install -d -m 700 "$tree/home/vagrant/.ssh"
    install -m 600 "$public_key" "$tree/home/vagrant/.ssh/authorized_keys"
    in_tree chown --recursive vagrant:vagrant /home/vagrant/.ssh
    # The box is made once and started often: each machine makes host keys of its own.
    cat >"$tree/etc/systemd/system/ssh-host-keys.service" <<'UNIT'
[Unit]
Description=Make this machine's SSH host keys
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
UNIT
    in_tree systemctl enable --quiet ssh-host-keys.service
    echo 'UseDNS no' >"$tree/etc/ssh/sshd_config.d/vagrant.conf"
    printf 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n' >"$tree/etc/network/interfaces"
    echo "UUID=$uuid / ext4 errors=remount-ro,noatime 0 1" >"$tree/etc/fstab"
    echo minidocker >"$tree/etc/hostname"
    echo '127.0.0.1 localhost' >"$tree/etc/hosts"
    : >"$tree/etc/machine-id"
    in_tree systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer fstrim.timer

    bake
    rm -rf "$tree"/var/cache/apt/*.bin "$tree"/var/cache/apt/archives/*.deb "$tree"/var/lib/apt/lists/* "$tree"/root/.cache \
        "$tree"/usr/share/doc/* "$tree"/usr/share/man/* "$tree"/usr/share/locale/*
}

# The Python environment, at this machine's speed. Its certificates come along for the time of the build only.
bake() {
    local extra=/usr/local/share/ca-certificates
    copy_project "$tree/vagrant"
    if compgen -G "$extra/*.crt" >/dev/null; then  # a network with a certificate authority of its own
        cp /etc/ssl/certs/ca-certificates.crt "$tree/tmp/ca.crt"
        export PIP_CERT=/tmp/ca.crt
    fi
    for path in ${PIP_FIND_LINKS:-}; do
        if [ -d "$path" ]; then mkdir -p "$tree$path" && mount --bind "$path" "$tree$path"; fi
    done
    mount --bind /etc/resolv.conf "$tree/etc/resolv.conf"
    mount -t proc proc "$tree/proc"
    mount -t sysfs sysfs "$tree/sys"
    mount --rbind /sys/fs/cgroup "$tree/sys/fs/cgroup"
    mount --rbind /dev "$tree/dev"
    in_tree ${PIP_CERT:+PIP_CERT="$PIP_CERT"} /vagrant/vagrant/provision.sh /vagrant
    in_tree "/opt/minidocker/venv/bin/python3" -m compileall -q /opt/minidocker/venv || die "the environment does not compile"
    umount --recursive "$tree/proc" "$tree/etc/resolv.conf"
    umount --recursive --lazy "$tree/dev" "$tree/sys"
    for path in ${PIP_FIND_LINKS:-}; do
        if [ -d "$tree$path" ]; then umount "$tree$path" && rmdir "$tree$path"; fi
    done
    rm -rf "$tree/vagrant" "$tree/tmp/ca.crt"
    mkdir "$tree/vagrant"
    : >"$tree/etc/resolv.conf"
    say "Python environment, base image, registry"
}

# A disk without a loop device or a mount, which a kill would leave behind: the filesystem is made from the tree, and GRUB's two
# pieces go where a BIOS looks for them, the first sector and the gap behind it.
make_disk() {
    local disk=$work/disk.raw gap=2048 kernel initrd
    kernel=$(basename "$tree"/boot/vmlinuz-*)
    initrd=$(basename "$tree"/boot/initrd.img-*)
    mkdir -p "$tree/boot/grub"
    cat >"$tree/boot/grub/grub.cfg" <<GRUB
set timeout=0
linux /boot/$kernel root=UUID=$uuid ro quiet net.ifnames=0 console=tty0 console=ttyS0
initrd /boot/$initrd
boot
GRUB
    echo 'search --no-floppy --set=root --fs-uuid '$uuid'
configfile /boot/grub/grub.cfg' >"$tree/tmp/early.cfg"
    in_tree grub-mkimage --format=i386-pc --output=/tmp/core.img --prefix=/boot/grub --config=/tmp/early.cfg \
        biosdisk part_msdos ext2 linux normal configfile search search_fs_uuid
    truncate --size="${disk_gib}G" "$disk"
    echo "$gap,,L,*" | sfdisk --quiet "$disk"
    dd if="$tree/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
    dd if="$tree/tmp/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
    rm "$tree/tmp/core.img" "$tree/tmp/early.cfg"
    mke2fs -q -t ext4 -U "$uuid" -L minidocker -E offset=$((gap * 512)),lazy_itable_init=1 -d "$tree" "$disk" \
        $(((disk_gib * 1024 * 1024) - gap / 2))k
    say "disk of $disk_gib GiB"
    qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -W -m 4 "$disk" "$work/box.img"
    rm "$disk"
    say "compressed to $(($(stat --format=%s "$work/box.img") >> 20)) MiB"
}

make_box() {
    local kept
    kept=$cache/tree-$(key)
    mkdir -p "$work" "$cache"
    if [ -d "$kept" ]; then
        echo "   packages and environment are kept under key $(key)"
    else
        rm -rf "$cache"/tree*
        tree=$cache/tree
        make_tree
        mv "$tree" "$kept"
        say "kept under key $(key)"
    fi
    tree=$kept
    rm -rf "$tree/opt/minidocker/project"
    copy_project "$tree/opt/minidocker/project"
    make_disk
    printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %s}\n' "$disk_gib" >"$work/metadata.json"
    : >"$work/Vagrantfile"
    tar --create --file="$out.new" --directory="$work" metadata.json Vagrantfile box.img
    mv "$out.new" "$out"
    rm -rf "$work"
    say "$out"
}

[ "${1:-}" != --key ] || { key; exit; }
out=$(realpath --canonicalize-missing "${1:?box.sh: where should the box go?}")
work=$(dirname "$out")/work
rm -rf "$work"
public_key=$(find /usr /opt -path '*vagrant*/keys/vagrant.pub' -type f -print -quit)
[ "$(id -u)" = 0 ] || die "Building an image needs root: sudo make box"
[ "$(dpkg --print-architecture)" = amd64 ] || die "The box is made for amd64 only so far; on arm64 use a public box (see README)."
[ -n "$public_key" ] || die "Vagrant's public key is not here; is vagrant installed (vagrant/packages.sh vm)?"
if [ "${IN_NAMESPACES:-}" != yes ]; then
    IN_NAMESPACES=yes exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
make_box
