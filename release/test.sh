#!/usr/bin/env bash
# Tests the packages that release/build.sh has made: see docs/releasing.md.
#     release/test.sh [DIR]
# Needs npm, dpkg, systemd-analyze, and `npm ci` in js/test/node.
set -euo pipefail
cd "$(dirname "$0")/.."

target_folder=$(cargo metadata --locked --no-deps --format-version 1 |
    node -e 'console.log(JSON.parse(require("fs").readFileSync(0)).target_directory)')
packages=$(cd "${1:-$target_folder/packages}" && pwd)
work=$(mktemp -d)
host=
trap '[ -z "$host" ] || kill "$host" 2>/dev/null || true; rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }
fail() { echo "$*" >&2; exit 1; }

step "checksums"
(cd "$packages" && sha256sum --check --quiet SHA256SUMS && [ "$(wc -l <SHA256SUMS)" = "$(($(ls | wc -l) - 1))" ])

step "npm packages, without Rust"
cpu=$(node -p process.arch)
node_22=$PWD/js/test/node/node_modules/node-22-$cpu/bin/node
PACKAGES=$packages NPM=$(npm root -g)/npm "$node_22" --test release/npm.test.mjs

step "the archive"
tar -C "$work" -xzf "$packages"/chrome-sockets-*-linux-"$cpu".tar.gz
archive=$(echo "$work"/chrome-sockets-*)
"$archive/chrome-sockets" --version
[ "$(file -b "$archive/chrome-sockets" | grep -c 'not stripped')" = 0 ] || fail "the program is not stripped"
node -e '
    const { bomFormat, components } = JSON.parse(require("fs").readFileSync(process.argv[1]));
    if (bomFormat !== "CycloneDX" || !components.some(({ name }) => name === "rustls")) throw new Error("not the bill of the program");
' "$archive/sbom.cdx.json"
if grep -q "$PWD" "$archive/sbom.cdx.json"; then fail "the bill of materials has the path of this folder"; fi

step "the Debian package: install, run by hand, remove, purge"
deb=$(echo "$packages"/*.deb)
root=$work/root
mkdir -p "$root/var/lib/dpkg" "$root/etc"
touch "$root/var/lib/dpkg/status"
# The folder is no system: nothing is installed there that the package could depend on, or that its scripts could run in.
dpkg_in_root() {
    dpkg --root="$root" --force-not-root --force-script-chrootless --force-depends --log=/dev/null "$@" >/dev/null
}
dpkg --info "$deb" | sed -n 's/^ \(Package\|Version\|Depends\): /\0/p'
dpkg_in_root --install "$deb"
for path in usr/bin/chrome-sockets usr/lib/systemd/system/chrome-sockets.service usr/lib/systemd/system/chrome-sockets.socket \
    usr/share/man/man1/chrome-sockets-serve.1.gz usr/share/bash-completion/completions/chrome-sockets \
    usr/share/zsh/vendor-completions/_chrome-sockets usr/share/fish/vendor_completions.d/chrome-sockets.fish \
    etc/chrome-sockets/host.toml usr/share/doc/chrome-sockets/copyright; do
    [ -f "$root/$path" ] || fail "the package has no $path"
done
[ ! -e "$root/etc/systemd/system" ] || fail "the package enables a unit"
# systemd looks for the programs and the units that these need.
for file in bin/kill usr/lib/systemd/system/sysinit.target usr/lib/systemd/system/basic.target; do
    mkdir -p "$root/$(dirname "$file")"
    if [ -e "/$file" ]; then cp "/$file" "$root/$file"; else cp "/usr/$file" "$root/$file"; fi
done
for unit in service socket; do
    systemd-analyze verify --man=no --root="$root" "chrome-sockets.$unit" 2>&1 | tee "$work/verified"
    if grep chrome-sockets "$work/verified"; then fail "systemd rejects chrome-sockets.$unit"; fi
done
# The command of the unit, in the place of the package, on a free port.
command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/chrome-sockets.service")
[ "$command" = "/usr/bin/chrome-sockets serve --config /etc/chrome-sockets/host.toml" ] || fail "another command: $command"
"$root/usr/bin/chrome-sockets" serve --config "$root/etc/chrome-sockets/host.toml" --listen 127.0.0.1:0 >"$work/output" &
host=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$work/output" && break
    sleep 0.1
done
page=$(sed -n 's/^Admin page: \(.*\)#.*/\1/p' "$work/output")
[ "$(curl --noproxy '*' -s -o /dev/null -w '%{http_code}' "$page")" = 200 ] || fail "the host does not answer"
kill -TERM "$host"
wait "$host"
host=
# What the administrator adds is kept by a removal, and goes with a purge.
echo CHROME_SOCKETS_TOKEN=secret >"$root/etc/chrome-sockets/environment"
mkdir "$root/etc/chrome-sockets/apps"
dpkg_in_root --remove chrome-sockets
[ ! -e "$root/usr/bin/chrome-sockets" ] || fail "the program is left"
[ -f "$root/etc/chrome-sockets/host.toml" ] || fail "the configuration is gone"
dpkg_in_root --purge chrome-sockets
left=$(find "$root" -path "$root/var/lib/dpkg" -prune -o -name '*chrome-sockets*' -print)
[ -z "$left" ] || fail "left behind: $left"
# Installed again it works as before.
dpkg_in_root --install "$deb"
dpkg_in_root --purge chrome-sockets

if [ -n "${CHROOT:-}" ]; then
    step "the Debian package in a Debian of its own"
    # CHROOT is a Debian, or 1 to download one. As root.
    debian=$CHROOT
    if [ ! -d "$debian" ]; then
        debian=$work/debian
        debootstrap --variant=minbase "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" "$debian" >/dev/null
    fi
    in_debian() { chroot "$debian" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
    if in_debian sh -c 'command -v cargo || command -v rustc'; then fail "this Debian has Rust"; fi
    find "$debian" -xdev -not -path '*/var/*' | sort >"$work/before"
    cp "$deb" "$debian/package.deb"
    in_debian dpkg --install /package.deb
    in_debian chrome-sockets serve --config /etc/chrome-sockets/host.toml --check-config
    # Not by the function, whose process would be another one.
    chroot "$debian" /usr/bin/chrome-sockets serve --config /etc/chrome-sockets/host.toml --listen 127.0.0.1:0 >"$work/in-debian" &
    host=$!
    for _ in $(seq 100); do
        grep -q '^listening on ' "$work/in-debian" && break
        sleep 0.1
    done
    page=$(sed -n 's/^Admin page: \(.*\)#.*/\1/p' "$work/in-debian")
    [ "$(curl --noproxy '*' -s -o /dev/null -w '%{http_code}' "$page")" = 200 ] || fail "the host does not answer"
    kill -TERM "$host"
    wait "$host"
    host=
    in_debian dpkg --purge chrome-sockets
    rm "$debian/package.deb"
    find "$debian" -xdev -not -path '*/var/*' | sort >"$work/after"
    diff "$work/before" "$work/after" || fail "the purge leaves something"
fi

step "cargo install"
CARGO_TARGET_DIR=$target_folder cargo install --locked --quiet --path host --root "$work/cargo"
"$work/cargo/bin/chrome-sockets" --version

echo
echo "all packages work"
