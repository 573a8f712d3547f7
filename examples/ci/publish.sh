#!/bin/sh
# publish.sh: two model files to a signed, verified bundle in a folder that a web server can serve.
#
# usage: publish.sh OLD NEW FOLDER
#   RELEASE_KEY        the content of the private key, from the CI's secrets, or
#   RELEASE_KEY_FILE   a file that holds it
#   RELEASE_PUBKEY     the public key file that devices trust (release.key.pub)
#   SEQUENCE           a number that grows with every release, such as the number of the CI's run
#   PACK_OPTIONS       more options of `tensorpatch pack`, such as --profile mcu-64k
#   TENSORPATCH        the program (tensorpatch)
# The bundle is named by the digest of the old file, so that a device finds its update with
# sha256sum: FOLDER/<sha256 of OLD>.tpb, and beside it the bundle's own digest in .tpb.sha256. Both
# appear whole or not at all, and only after the bundle has been verified with the public key and
# applied. Equal models publish nothing and are no error.
# SPDX-License-Identifier: Apache-2.0
set -eu
[ $# -eq 3 ] || {
  echo "usage: publish.sh OLD NEW FOLDER" >&2
  exit 2
}
old=$1 new=$2 folder=$3
public_key=${RELEASE_PUBKEY:-release.key.pub}
tensorpatch=${TENSORPATCH:-tensorpatch}
: "${SEQUENCE:?must be a number that grows with every release}"
if [ -n "${RELEASE_KEY:-}" ]; then
  key=env:RELEASE_KEY
else
  key=${RELEASE_KEY_FILE:?or RELEASE_KEY must give the private key}
fi

mkdir -p "$folder"
work=$(mktemp -d "$folder/.publish-XXXXXX") # in the same file system: the last step is a rename
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
name=$(sha256sum "$old" | cut -d ' ' -f 1).tpb

# Words of PACK_OPTIONS are options of their own.
"$tensorpatch" pack "$old" "$new" -o "$work/$name" --key "$key" --sequence "$SEQUENCE" \
  --meta "new-sha256=$(sha256sum "$new" | cut -d ' ' -f 1)" ${PACK_OPTIONS:-}
if [ ! -e "$work/$name" ]; then
  echo "the models are equal: nothing to publish"
  exit 0
fi

class=
for word in ${PACK_OPTIONS:-}; do # what only devices of one class accept is tried as one of them
  case $class in --device-class) class=$word && break ;; esac
  case $word in --device-class=*) class=${word#*=} && break ;; --device-class) class=$word ;; esac
done
set -- --pubkey "$public_key" --min-sequence "$SEQUENCE" ${class:+--device-class "$class"}
"$tensorpatch" verify "$work/$name" --old "$old" "$@"
"$tensorpatch" apply "$old" "$work/$name" -o "$work/new" "$@"
cmp "$work/new" "$new"

(cd "$work" && sha256sum "$name" >"$name.sha256")
chmod 644 "$work/$name" "$work/$name.sha256"
mv -f "$work/$name.sha256" "$folder/"
mv -f "$work/$name" "$folder/"
echo "published $folder/$name"
