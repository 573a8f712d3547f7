#!/bin/bash
# fetch_source.sh: unpacks the source of a Debian package, for devices that have no package.
#
# usage: fetch_source.sh PACKAGE FOLDER    FOLDER is replaced by the patched source.
# The sources of Debian 12 are asked with settings of its own: neither root nor deb-src lines in the
# system's settings are needed. apt checks the archive's signature. Needs dpkg-dev and, the first
# time, a network.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
package=$1 folder=$2
work=$folder.fetch
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

rm -rf "$folder" "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
cd "$work"
printf 'deb-src [signed-by=%s] http://deb.debian.org/debian%s main\n' \
  $keyring " bookworm" $keyring "-security bookworm-security" >sources.list
settings=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=
  -o Acquire::Retries=3 -o Acquire::Languages=none)
download() {
  apt-get "${settings[@]}" update && apt-get "${settings[@]}" source --download-only "$package"
}
if ! download >log 2>&1; then
  cat log >&2
  echo "the source of $package cannot be had; hint: unpack it by hand and configure with" \
    "-DTENSORPATCH_${package^^}_SOURCE=FOLDER" >&2
  exit 1
fi
dpkg-source --no-check -x "${package}"_*.dsc source >>log 2>&1 # apt has checked it
mv source "$folder"
rm -rf "$work"
