#!/usr/bin/env bash
# Makes this Debian or Ubuntu machine the course's: packages, Python environment, base image, registry, the lab as a service.
#
#   vagrant/provision.sh PROJECT [NOTEBOOKS]    as root; PROJECT: the directory with this repository
#
# `vagrant up` calls it inside the machine, `make box` inside the image that it builds. Each step looks first whether its work
# is done: a second run takes seconds and needs no network, and after a failure the next run goes on where this one stopped.
set -euo pipefail
project=${1:?provision.sh: which directory has the project?}
notebooks=${2:-$project/notebooks}
home=/opt/minidocker
venv=$home/venv
settings=/etc/minidocker
unit=/etc/systemd/system/minidocker-lab.service
changed=no

die() {
    printf 'provision.sh: %s\n' "$@" >&2
    exit 1
}

total=6
number=0
step() {
    local text=$1 started=$SECONDS
    shift
    number=$((number + 1))
    echo "[$number/$total] $text"
    "$@"
    echo "[$number/$total] $text: $said ($((SECONDS - started)) s)"
}

packages() {
    local before after
    before=$(dpkg-query --show | sha256sum)
    bash "$project/vagrant/packages.sh" base registry || die "Without these packages nothing works. After the cause is gone: vagrant provision"
    after=$(dpkg-query --show | sha256sum)
    if [ "$before" = "$after" ]; then said="all there"; else said="installed"; fi
}

requirements() {
    /usr/bin/python3 - "$project/pyproject.toml" <<'PYTHON'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
print("\n".join(sorted({*project["dependencies"], *extras["course"], *extras["test"]})))
PYTHON
}

# Not an editable install, which would write into the learner's directory and ask the network for setuptools: a line that
# says where the package is (see site(1)) does the same.
link_project() {
    local site
    site=$(echo "$venv"/lib/python3*/site-packages)
    echo "$project" >"$site/minidocker.pth"
    printf '#!%s/bin/python3\nimport sys\n\nfrom minidocker.cli.main import main\n\nsys.exit(main())\n' "$venv" >"$venv/bin/minidocker"
    chmod 755 "$venv/bin/minidocker"
    ln -sf "$venv/bin/minidocker" /usr/local/bin/minidocker
}

environment() {
    local wanted
    wanted=$(requirements)
    if [ "$(cat "$venv/.requirements" 2>/dev/null)" = "$wanted" ]; then
        said="all there"
    else
        mkdir -p "$home"
        [ -x "$venv/bin/pip" ] || /usr/bin/python3 -m venv "$venv"
        # shellcheck disable=SC2086  # one requirement per word
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-warn-script-location $wanted || die \
            "The Python packages could not be installed; pip's message is above." \
            "Check the network (is there one? a proxy?), then: vagrant provision. What is downloaded already stays." \
            "Without any network use the ready box (make box), made from the same version of the course."
        echo "$wanted" >"$venv/.requirements"
        said="installed"
    fi
    touch "$venv/.done"  # for make: sudo make test VENV=$venv
    link_project
}

base_image() {
    "$venv/bin/minidocker" system setup
    said="ready"
}

# Debian's registry listens on every address; the lessons need it on this machine only, and are to start it empty-handed.
registry() {
    mkdir -p "$settings" /etc/systemd/system/docker-registry.service.d
    cat >"$settings/registry.yml" <<'YAML'
version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /var/lib/docker-registry}
  delete: {enabled: true}
http: {addr: "127.0.0.1:5000"}
YAML
    cat >/etc/systemd/system/docker-registry.service.d/minidocker.conf <<UNIT
[Service]
ExecStart=
ExecStart=/usr/bin/docker-registry serve $settings/registry.yml
UNIT
    systemctl enable --quiet docker-registry.service
    said="on 127.0.0.1:5000"
}

# With several learners each has a copy of the lessons of his own. What is there already is his work: it stays.
lessons() {
    if [ "$notebooks" = "$project/notebooks" ]; then
        said="$notebooks"
        return
    fi
    mkdir -p "$notebooks"
    (cd "$project/notebooks" && find . -type f -not -path './source/*' -not -path './kept/*' -not -path '*/.ipynb_checkpoints/*' -print0) |
        while IFS= read -r -d '' file; do
            [ -e "$notebooks/$file" ] || install -D -m 644 "$project/notebooks/$file" "$notebooks/$file"
        done
    said="$notebooks"
}

lab() {
    local token
    mkdir -p "$settings"
    token=$(sed -n 's/^JUPYTER_TOKEN=//p' "$settings/lab.env" 2>/dev/null || :)
    # Not while an image is built: every machine made from it chooses its own.
    if [ -z "$token" ] && is_running; then token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n'); fi
    (umask 077 && printf 'JUPYTER_TOKEN=%s\nMINIDOCKER_KEPT=%s\n' "$token" "$notebooks/kept" >"$settings/lab.env.new")
    mv "$settings/lab.env.new" "$settings/lab.env"
    sed -e "s|@VENV@|$venv|g" -e "s|@PROJECT@|$project|g" -e "s|@NOTEBOOKS@|$notebooks|g" \
        "$project/vagrant/minidocker-lab.service" >"$unit.new"
    # A lab that runs goes on, with the learner's kernels in it, unless it would be another one now.
    cmp --silent "$unit.new" "$unit" || changed=yes
    mv "$unit.new" "$unit"
    said=$(basename "$unit")
}

is_running() { [ -d /run/systemd/system ]; }

[ "$(id -u)" = 0 ] || die "This sets up a whole machine and needs root. It is meant for the course's virtual machine, not for your own."
[ -e "$project/pyproject.toml" ] || die "No project in $project: the synced folder is missing. Try: vagrant reload"
# A copy in place of a shared folder (rsync) is written over at every reload: the learner's work has to be elsewhere.
if is_running && ! mountpoint --quiet "$project"; then notebooks=/home/vagrant/$(basename "$notebooks"); fi
step "system packages" packages
step "Python environment" environment
step "base image" base_image
step "registry for the lessons" registry
step "lessons" lessons
step "the lab as a service" lab
if is_running; then
    systemctl daemon-reload
    systemctl restart docker-registry.service
    if [ "$changed" = yes ]; then systemctl try-restart "$(basename "$unit")"; fi
fi
