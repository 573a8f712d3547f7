# json.sh: what scripts read: --json of every command, and the facts of inspect.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
cp "$TESTDATA/quickstart/old.tflite" "$TESTDATA/quickstart/new.tflite" .

ok keygen -o k --json
json 'j["private_key"] == "k" and j["public_key"] == "k.pub" and len(j["key_id"]) == 64'
ok pubkey k --json --format hex
json 'len(j["public_key"].strip()) == 64 and len(j["key_id"]) == 64'
key_id=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["key_id"])' "$out")

ok pack old.tflite new.tflite -o u.tpb --key k --details u.details --version 2.1 --sequence 42 \
  --security-version 3 --device-class 123e4567-e89b-42d3-a456-426614174000 --name kws \
  --meta team=audio --meta run=17 --json
json 'j["result"] == "packed" and j["signed_by"] == ["'"$key_id"'"]'
json 'j["components"][0]["format"] == "tflite" and j["components"][0]["warning"] == ""'
json 'j["bundle_size"] == '"$(size_of u.tpb)"
json '0 < j["workspace_size"] <= 4 << 20'
json 'all(0 < l["air_ms"] < l["time_ms"] and l["energy_mj"] > 0 for l in j["links"])'
cp "$out" packed.json

ok inspect u.tpb --json
quiet
json 'j["sequence"] == 42 and j["security_version"] == 3 and j["version"] == "2.1"'
json 'j["device_class"] == "123e4567-e89b-42d3-a456-426614174000"'
json 'j["metadata"] == {"team": "audio", "run": "17"}'
json 'j["signatures"][0] == {"algorithm": 1, "key_id": "'"$(echo "$key_id" | cut -c1-16)"'",
  "check": "signature not checked"}'
json 'j["components"][0]["name"] == "kws" and j["components"][0]["tensors"] == []'
json 'j["components"][0]["old_sha256"] == "'"$(sha256sum old.tflite | cut -c1-64)"'"'
json 'j["components"][0]["new_sha256"] == "'"$(sha256sum new.tflite | cut -c1-64)"'"'
json 'j["contract"]["workspace"] > 0 and "operations" in j["contract"]["codecs"]'
json 'j["contract"]["flash_written"] >= j["components"][0]["new_size"]'
json 'len(j["contract"]["links"]) >= 5'
json 'j["contract"]["links"] == json.load(open("packed.json"))["links"]'

json 'j["components"][0]["operations"] == []'
ok inspect u.tpb --json --old old.tflite --pubkey k.pub
json 'sum(o["new_bytes"] for o in j["components"][0]["operations"]) == '"$(size_of new.tflite)"
json '{"copy", "residual"} <= {o["method"] for o in j["components"][0]["operations"]}'
ok inspect u.tpb --old old.tflite --pubkey k.pub
says 'residual'
refuse 3 '' inspect u.tpb --old old.tflite
refuse 4 'wrong old file' inspect u.tpb --old new.tflite --pubkey k.pub
refuse 2 'component' inspect u.tpb --old old.tflite --old old.tflite --pubkey k.pub

ok inspect u.tpb --json --details u.details --pubkey k.pub
json 'j["signatures"][0]["check"] == "valid"'
json 'sum(t["size"] for t in j["components"][0]["tensors"]) == j["components"][0]["new_size"]'
json 'sum(m["new_bytes"] for m in j["components"][0]["methods"]) == j["components"][0]["new_size"]'
ok inspect u.tpb --details u.details
says 'TENSOR '
says 'signature not checked'
ok keygen -o other
ok inspect u.tpb --pubkey other.pub
says 'unknown key'
cp u.tpb wrong.tpb
statement=$(od -An -tu2 -j6 -N2 u.tpb)
flip wrong.tpb $((10 + statement + 20)) # in the signature
run inspect wrong.tpb --pubkey k.pub
[ $code -eq 3 ] || fail "exit code $code for a wrong signature"
says 'WRONG'
run inspect wrong.tpb --pubkey k.pub --json
[ $code -eq 3 ] || fail "exit code $code for a wrong signature"
json 'j["signatures"][0]["check"] == "WRONG"'
cp u.details changed.details
flip changed.details 100
refuse 3 '' inspect u.tpb --details changed.details
ok pack old.tflite new.tflite -o plain.tpb --key k
refuse 2 'without details' inspect plain.tpb --details u.details

class='--device-class 123e4567-e89b-42d3-a456-426614174000'
ok verify u.tpb --pubkey k.pub $class --json
json 'j["result"] == "verified" and not j["old_checked"] and not j["already_new"]'
ok verify u.tpb --pubkey k.pub $class --old old.tflite --json
json 'j["old_checked"] and j["signed_by"] == ["'"$key_id"'"]'
ok apply old.tflite u.tpb -o n --pubkey k.pub $class --json
json 'j["result"] == "applied" and j["new"] == ["n"] and j["new_size"] == '"$(size_of new.tflite)"
ok sign u.tpb --key other --json
json 'j["result"] == "signed" and j["signature_count"] == 2'
ok sign u.tpb --export-tbs tbs --json
json 'j["to_be_signed"] == "tbs"'
ok pack old.tflite old.tflite -o none.tpb --json
json 'j["result"] == "nothing to do"'
ok bsdiff old.tflite new.tflite p --json
json 'j["patch"] == "p"'
ok bspatch old.tflite n2 p --json
json 'j["new"] == "n2"'

# Errors, too.
cp old.tflite wrong.tflite
flip wrong.tflite 9
refuse 4 'wrong old' apply wrong.tflite plain.tpb -o n3 --pubkey k.pub --json
json 'j["error"]["exit_code"] == 4 and j["error"]["status"] == 64 and j["error"]["message"]'
code=0
head -c 100 plain.tpb | "$TENSORPATCH" apply old.tflite - -o n4 --pubkey k.pub --json \
  --resume state >"$out" 2>"$err" || code=$?
[ $code -eq 6 ] || fail "exit code $code instead of 6"
json 'j["error"]["exit_code"] == 6 and j["error"]["next_offset"] == 0'

# --help of every command ends with three commands or more that could be typed.
for command in keygen pubkey pack sign verify apply inspect bsdiff bspatch; do
  ok $command --help
  [ "$(sed -n '/^Examples:/,$p' "$out" | grep -c tensorpatch)" -ge 3 ] ||
    fail "$command --help does not end with three examples"
done
ok --version
says 'tensorpatch 0.'
