#!/usr/bin/env bash
# The one list of system packages. The virtual machine, make and CI all call this script.
#
#   vagrant/packages.sh [GROUP...]        GROUP: base (default), test, bench, registry, vm
#   vagrant/packages.sh --list [GROUP...] only print the names
#
# Debian 12, Debian 13 and Ubuntu 24.04. Installs what is missing and nothing else, so a second run needs
# neither root nor a network and takes a moment.
set -euo pipefail

packages_of() {
    case "$1" in
        base)  # busybox-static becomes the base image; the others are what the engine and the lessons call
            echo busybox-static ca-certificates git iproute2 make nftables procps python3 python3-venv util-linux ;;
        test)  # a stranger that must understand our images, and a browser for the lessons
            echo skopeo
            # Ubuntu has no chromium package but a snap, which needs a running snapd: there make fetches playwright's own.
            if [ "$(. /etc/os-release && echo "$ID")" = debian ]; then echo chromium fonts-dejavu-core; fi ;;
        bench)  # the engines to compare with; installing docker.io starts its service where systemd runs
            echo docker.io podman runc ;;
        registry)  # the registry for the lessons; installing it starts its service where systemd runs
            echo docker-registry ;;
        vm)  # make box and make test-vm: builds the machine's image, and starts it without KVM
            echo dnsmasq-base e2fsprogs fdisk iptables libvirt-clients libvirt-daemon-system mmdebstrap qemu-system-x86 qemu-utils \
                 slirp4netns vagrant vagrant-libvirt
            # virtiofsd, which shares the project with the machine: a package of its own since Debian 13
            if apt-cache show virtiofsd >/dev/null 2>&1; then echo virtiofsd; fi ;;
        *)
            echo "packages.sh: no group named '$1' (there are: base test bench registry vm)" >&2
            return 2 ;;
    esac
}

is_installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

apt() {
    # A first boot often still runs its own update: wait for that lock instead of failing.
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" </dev/null
}

give_up() {
    {
        echo "packages.sh: could not install: ${missing[*]}"
        echo "  $1"
    } >&2
    exit 1
}

list_only=no
if [ "${1:-}" = --list ]; then
    list_only=yes
    shift
fi
names=()
for group in "${@:-base}"; do
    found=$(packages_of "$group")
    names+=($found)  # split into words on purpose
done
if [ "$list_only" = yes ]; then
    printf '%s\n' "${names[@]}" | sort -u
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: this is no Debian or Ubuntu. Install the counterparts of: ${names[*]}" >&2
    exit 1
fi
missing=()
for name in "${names[@]}"; do
    is_installed "$name" || missing+=("$name")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

[ "$(id -u)" = 0 ] || give_up "Installing needs root: run the same command with sudo."
echo "Installing system packages: ${missing[*]}"
updated=no
for attempt in 1 2 3; do
    if apt update --quiet --quiet; then
        updated=yes
        break
    fi
    echo "packages.sh: the package lists could not be fetched (attempt $attempt of 3)" >&2
    sleep "$attempt"
done
# Old lists may still do: one dead mirror among several must not stop us, so the install decides.
if ! apt install --quiet --quiet --yes --no-install-recommends "${missing[@]}"; then
    [ "$updated" = yes ] || give_up "The package mirror did not answer. Check the network and /etc/apt/sources.list*, then run this again."
    give_up "apt-get's own message is above."
fi
