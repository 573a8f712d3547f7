# diff.sh: `tensorpatch diff` and `inspect --details` as people and scripts read them.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models

# safetensors.py FILE COUNT [HOW]: a file of COUNT tensors; HOW changes some of them.
cat >"$work/safetensors.py" <<'END'
import json, random, struct, sys
path, count, how = sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ''
header, data = {}, b''
for i in range(count):
    source = random.Random(i)
    values = bytes(min(255, max(0, int(source.gauss(128, 20)))) for _ in range(256))
    if how == 'some' and i % 3 == 0 or how == 'all':
        values = bytes(b ^ (j % 4 == 0) for j, b in enumerate(values))
    name = f'model.layers.{i}.a_rather_long_name_of_a_module.projection.weight'
    if how == 'hostile' and i == 0:
        name = 'a\x1b[31m\n\u00e9..//./' + 40 * 'long' + '/' + 40 * 'b'
        values = bytes(256)
    header[name] = {'dtype': 'U8', 'shape': [16, 16], 'data_offsets': [len(data), len(data) + 256]}
    data += values
text = json.dumps(header).encode()
open(path, 'wb').write(struct.pack('<Q', len(text)) + text + data)
END

# The table: 80 columns of ASCII, the largest part of the patch first, a total, the rest counted.
ok diff old.tflite new.tflite
quiet
says ' of new'
says '  TENSOR '
says '  total '
says 'more tensors unchanged'
awk 'length($0) > 80' "$out" | grep . && fail 'a line has more than 80 columns'
LC_ALL=C grep -q '[^ -~]' "$out" && fail 'not printable ASCII'
cp "$out" table
ok diff old.tflite new.tflite
cmp table "$out" || fail 'the table is another one'
ok diff old.tflite new.tflite --jobs 1
cmp table "$out" || fail 'the table depends on the number of threads'
for name in a b c; do python3 "$work/safetensors.py" $name.safetensors 150; done
python3 "$work/safetensors.py" some.safetensors 150 some
python3 "$work/safetensors.py" all.safetensors 150 all
python3 "$work/safetensors.py" hostile.safetensors 150 hostile
ok diff a.safetensors some.safetensors
says 'only 50 of 150 tensors changed'
says 'and 10 more that changed'
says 'and 100 more tensors unchanged'
says ' m.l.105.a.p.weight ' # the number of a layer outlives the length of its name
awk 'length($0) > 80' "$out" | grep . && fail 'a line has more than 80 columns'
ok diff a.safetensors all.safetensors
says 'the weights descend from old: 150 of 150'
ok diff a.safetensors hostile.safetensors
says 'only 1 of 150 tensors changed; of the weights only'
says '  a..//./l/bbbb'
awk 'length($0) > 80' "$out" | grep . && fail 'a line has more than 80 columns'
LC_ALL=C grep -q '[^ -~]' "$out" && fail 'a name reached the terminal as it is'
ok diff a.safetensors b.safetensors
says 'identical files: there is nothing to update'

# JSON: every figure, and only what is known.
ok diff old.tflite new.tflite --json
json 'j["old"] == "old.tflite" and j["new"] == "new.tflite" and j["profile"] == "linux"'
json 'j["format"] == j["old_format"] == "tflite" and not j["identical"] and j["warning"] == ""'
json 'sum(t["size"] for t in j["tensors"]) == j["new_size"] == '"$(size_of new.tflite)"
json 'sum(t["bound_bytes"] for t in j["tensors"]) == j["bound_bytes"]'
json 'abs(sum(t["patch_bytes"] for t in j["tensors"]) - j["patch_size"]) < 0.05 * j["patch_size"]'
json 'j["counts"]["tensors"] == sum(t["role"] != "other" for t in j["tensors"])'
json 'j["lineage"] > 0.9 and [a["code"] for a in j["advice"]]'
json 'all(0 <= t["lineage"] <= 1 for t in j["tensors"] if t["lineage"] is not None)'
json 'all(t["old"]["name"] for t in j["tensors"] if t["role"] != "other")'
json 'len(j["histogram"]["counts"]) == 40 and j["histogram"]["step_log2"] == 0.5'
cp "$out" diff.json

# The same from a bundle and its details.
ok pack old.tflite new.tflite -o u.tpb --key k --details u.details
ok inspect u.tpb --details u.details --json
json 'j["components"][0]["tensors"] == json.load(open("diff.json"))["tensors"]'
json 'j["components"][0]["advice"] == json.load(open("diff.json"))["advice"]'
json 'j["components"][0]["histogram"] == json.load(open("diff.json"))["histogram"]'
json 'j["components"][0]["lineage"] == json.load(open("diff.json"))["lineage"]'
ok inspect u.tpb --details u.details --old old.tflite --pubkey k.pub
sed -n '/TENSOR/,/ total /p' table >rows
sed -n '/TENSOR/,/ total /p' "$out" >inspected
same rows inspected

# A smaller profile has a patch that is no smaller.
ok diff old.tflite new.tflite --profile mcu-8k --json
json 'j["profile"] == "mcu-8k" and j["patch_size"] >= json.load(open("diff.json"))["patch_size"]'

# A damaged container is compared as bytes, with a warning.
cp new.tflite damaged.tflite
python3 -c 'open("damaged.tflite", "r+b").write(b"\xff\xff\xff\x7f")'
ok diff old.tflite damaged.tflite
notes 'taken as raw bytes'

# Pages: whole or not at all, nothing replaced, never an input.
ok diff old.tflite new.tflite --html page.html
refuse 1 'page.html' diff old.tflite new.tflite --html page.html
ok diff old.tflite new.tflite --html page.html --force
refuse 2 '' diff old.tflite new.tflite --html new.tflite --force
ln -s new.tflite link
refuse 2 '' diff old.tflite new.tflite --html link --force
refuse 1 '' diff old.tflite new.tflite --html no/folder.html
ok inspect u.tpb --details u.details --html inspected.html
refuse 2 'needs --details' inspect u.tpb --html other.html
refuse 2 '' inspect u.tpb --details u.details --html u.details --force
refuse 1 '' diff old.tflite absent
refuse 2 'profile' diff old.tflite new.tflite --profile none
refuse 2 '' diff old.tflite
