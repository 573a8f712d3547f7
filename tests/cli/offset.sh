# offset.sh: old models inside partitions and firmware images, between other bytes and fill.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models
size=$(size_of old.tflite)

# image FILE SIZE OFFSET MODEL FILL: a file of FILL (octal) bytes with the model in it.
image() {
  head -c "$2" /dev/zero | tr '\000' "\\$5" >"$1"
  dd if="$4" of="$1" bs=4096 oflag=seek_bytes seek="$3" conv=notrunc 2>/dev/null
}
image factory.img 1048576 65536 old.tflite 377
image device.img 524288 12345 old.tflite 377
image zeros.img 300000 4096 old.tflite 000
image other.img 300000 4096 k 377

# Packed from one image; the bundle is the one from the file itself, and applies to both.
ok pack factory.img new.tflite -o u.tpb --key k --old-offset 0x10000 --old-size "$size"
quiet
ok pack old.tflite new.tflite -o file.tpb --key k
same u.tpb file.tpb
ok apply device.img u.tpb -o made --pubkey k.pub --old-offset 12345
same made new.tflite
ok apply zeros.img u.tpb -o zeros --pubkey k.pub --old-offset 4K --old-size 0x80K
same zeros new.tflite
chmod 400 device.img
ok apply device.img - -o piped --pubkey k.pub --old-offset 12345 --resume state <u.tpb
same piped new.tflite
ok verify u.tpb --pubkey k.pub --old device.img --old-offset 12345
says 'the whole update decodes'
ok inspect u.tpb --pubkey k.pub --old device.img --old-offset 12345 --json
json 'len(j["components"][0]["operations"]) > 0'

ok diff device.img new.tflite --old-offset 12345 --old-size "$size" --json
cp "$out" from-image
ok diff old.tflite new.tflite --json
sed 's/"old": *"[^"]*"//' "$out" >file
sed 's/"old": *"[^"]*"//' from-image | cmp - file || fail 'diff sees another old file in the image'

# The fill that follows an old file does not matter, also when it is new already.
image updated.img 524288 12345 new.tflite 377
ok apply updated.img u.tpb -o copy --pubkey k.pub --old-offset 12345
says 'nothing to do'
same copy new.tflite
cat old.tflite other.img >longer
ok apply longer u.tpb -o longer.made --pubkey k.pub
same longer.made new.tflite

# Without a size, the rest of the image is the old file, and fill in it is warned of.
ok pack factory.img new.tflite -o rest.tpb --key k --old-offset 64K
notes "the last $((1048576 - 65536 - size))"
ok apply factory.img rest.tpb -o rest --pubkey k.pub --old-offset 64K
same rest new.tflite
refuse 4 'wrong old' apply device.img rest.tpb -o no --pubkey k.pub --old-offset 12345

# At the wrong place, and beyond the end.
refuse 4 'wrong old' apply device.img u.tpb -o no --pubkey k.pub
refuse 4 'wrong old' apply device.img u.tpb -o no --pubkey k.pub --old-offset 12344
refuse 4 'wrong old' apply device.img u.tpb -o no --pubkey k.pub --old-offset 12345 --old-size 9999
refuse 4 'wrong old' verify u.tpb --pubkey k.pub --old other.img --old-offset 4096
refuse 4 'wrong old' inspect u.tpb --pubkey k.pub --old other.img --old-offset 4096
refuse 4 'beyond the end' apply device.img u.tpb -o no --pubkey k.pub --old-offset 1M
refuse 4 'beyond the end' apply device.img u.tpb -o no --pubkey k.pub --old-offset 512K --old-size 1
refuse 4 'beyond the end' pack device.img new.tflite -o no --old-offset 12345 --old-size 512K
refuse 4 'beyond the end' pack device.img new.tflite -o no --old-offset 0xffffffffffffffff
refuse 4 'beyond the end' pack device.img new.tflite -o no --old-offset 1 \
  --old-size 0xffffffffffffffff
for word in 0x x 12q -1 16777216T 0x10000000000000000 17179869184G; do
  refuse 2 'is not a size' pack device.img new.tflite -o no --old-offset "$word"
done
refuse 2 'no old file' pack - new.tflite -o no --old-offset 5
refuse 2 '2 time(s)' apply device.img u.tpb -o no --pubkey k.pub --old-offset 1 --old-offset 2

# Several components: once for each, in order.
ok pack --component a factory.img new.tflite --component b - k.pub --component c old.tflite k \
  --old-offset 64K --old-offset 0 --old-offset 0 --old-size "$size" --old-size auto \
  --old-size auto -o three.tpb --key k
ok apply three.tpb --pubkey k.pub --component c old.tflite c --component a device.img a \
  --component b - b --old-offset 0 --old-offset 12345 --old-offset 0
same a new.tflite
same b k.pub
same c k
ok verify three.tpb --pubkey k.pub --old device.img --old - --old old.tflite \
  --old-offset 12345 --old-offset 0 --old-offset 0
