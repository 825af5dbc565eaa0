#!/usr/bin/env bash
# Builds the host for one platform, and packs it: see docs/releasing.md.
#     release/build.sh [--target TRIPLE] [--platforms "linux-x64 …"] [--out DIR]
set -euo pipefail
cd "$(dirname "$0")/.."

# The platforms, as Node names them, by the target that Rust builds for them. The program runs on Unix only.
declare -A PLATFORMS=(
    [x86_64-unknown-linux-gnu]=linux-x64
    [aarch64-unknown-linux-gnu]=linux-arm64
    [x86_64-apple-darwin]=darwin-x64
    [aarch64-apple-darwin]=darwin-arm64
)

target=$(rustc -vV | sed -n 's/^host: //p')
native=$target
platforms=
out=
while [ $# -gt 0 ]; do
    case $1 in
        --target) target=$2 ;;
        --platforms) platforms=$2 ;;
        --out) out=$2 ;;
        *) sed -n '2,3s/^# *//p' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
platform=${PLATFORMS[$target]:-}
if [ -z "$platform" ]; then
    echo "no npm package is named for $target: its platforms are ${PLATFORMS[*]}" >&2
    exit 2
fi
os=${platform%-*} cpu=${platform#*-}
# Those for which there is a package in this release. Others get an error that names the package.
platforms=${platforms:-$platform}

version=$(cargo metadata --locked --no-deps --format-version 1 |
    node -e 'const { packages } = JSON.parse(require("fs").readFileSync(0)); console.log(packages.find(({ name }) => name === "chrome-sockets-host").version)')
target_folder=$(cargo metadata --locked --no-deps --format-version 1 |
    node -e 'console.log(JSON.parse(require("fs").readFileSync(0)).target_directory)')
out=${out:-$target_folder/packages}
rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
# Files in archives have the time of the commit, so that the same commit gives the same archives.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }

step "the program for $platform, stripped"
built=$target_folder/release
options=()
if [ "$target" != "$native" ]; then
    options+=(--target "$target")
    built=$target_folder/$target/release
fi
cargo build --locked --release -p chrome-sockets-host "${options[@]}"
program=$work/chrome-sockets
strip -o "$program" "$built/chrome-sockets"
ls -l "$program"

step "the bill of materials"
command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx --version 0.5.9
name=chrome-sockets-sbom
cargo cyclonedx --manifest-path host/Cargo.toml --target "$target" --format json --spec-version 1.5 --no-build-deps --override-filename "$name" -q
# It writes one for each member of the workspace, with the path of this folder in the names of its packages.
sed "s|file://$PWD|file://.|g" "host/$name.json" >"$work/sbom.cdx.json"
find . -name "$name.json" -not -path './target/*' -not -path '*/node_modules/*' -delete

step "npm packages"
# pack FOLDER: checks that every file is in the archive, and makes it.
pack() {
    (cd "$1" && npm pack --silent --pack-destination "$out")
}
licenses() { cp -L LICENSE-MIT LICENSE-APACHE "$1"; }
binary=$work/npm/$platform
mkdir -p "$binary/bin"
install -m 755 "$program" "$binary/bin/chrome-sockets"
cp "$work/sbom.cdx.json" "$binary/"
licenses "$binary"
VERSION=$version OS=$os CPU=$cpu node - "$binary/package.json" <<'END'
const { OS: os, CPU: cpu, VERSION: version } = process.env;
const described = {
  name: `chrome-sockets-host-${os}-${cpu}`,
  version,
  description: `The program chrome-sockets for ${os} on ${cpu}; use the package chrome-sockets`,
  license: 'MIT OR Apache-2.0',
  os: [os],
  cpu: [cpu],
  ...(os === 'linux' && { libc: ['glibc'] }),
  files: ['bin', 'sbom.cdx.json', 'LICENSE-*'],
};
require('fs').writeFileSync(process.argv[2], `${JSON.stringify(described, null, 2)}\n`);
END
pack "$binary"
host=$work/npm/host
cp -r host/npm "$host"
licenses "$host"
VERSION=$version PLATFORM_LIST=$platforms node - "$host/package.json" <<'END'
const fs = require('fs');
const { VERSION: version, PLATFORM_LIST: platforms } = process.env;
const described = JSON.parse(fs.readFileSync(process.argv[2]));
if (described.version !== version) throw new Error(`host/npm/package.json has version ${described.version}, host/Cargo.toml ${version}`);
described.optionalDependencies = Object.fromEntries(platforms.trim().split(/\s+/).map((platform) => [`chrome-sockets-host-${platform}`, version]));
fs.writeFileSync(process.argv[2], `${JSON.stringify(described, null, 2)}\n`);
END
pack "$host"
client=$work/npm/client
mkdir "$client"
cp js/*.mjs js/*.d.ts js/package.json js/README.md "$client"
licenses "$client"
pack "$client"

step "the archive"
folder=chrome-sockets-$version-$platform
mkdir "$work/$folder"
install -m 755 "$program" "$work/$folder/"
cp -r deploy/systemd deploy/completions deploy/man deploy/host.toml docs/host.md docs/security.md CHANGELOG.md "$work/sbom.cdx.json" "$work/$folder/"
licenses "$work/$folder"
if tar --version | grep -q GNU; then
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf "$work/$folder.tar" "$folder"
else
    tar -C "$work" -cf "$work/$folder.tar" "$folder"
fi
gzip -n9 <"$work/$folder.tar" >"$out/$folder.tar.gz"
cp "$work/sbom.cdx.json" "$out/$folder.sbom.cdx.json"

if [ "$os" = linux ]; then
    step "the Debian package"
    command -v cargo-deb >/dev/null || cargo install --locked cargo-deb --version 3.8.0
    cargo deb -q --locked --no-build -p chrome-sockets-host "${options[@]}" -o "$out/"
fi

step "checksums"
# The lines of all platforms together are those of the release.
cd "$out"
sha256=$(command -v sha256sum || echo "shasum -a 256")
for file in *; do $sha256 "$file"; done >"$work/SHA256SUMS"
mv "$work/SHA256SUMS" "SHA256SUMS"
cat "SHA256SUMS"
for other in "${PLATFORMS[@]}"; do
    case " $platforms " in *" $other "*) ;; *) echo "not in this release: $other" ;; esac
done
