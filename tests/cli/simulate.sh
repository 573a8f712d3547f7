# simulate.sh: what an update costs a device, without the device.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models
new=$(size_of new.tflite)
ok pack old.tflite new.tflite -o u.tpb --key k --profile mcu-64k
listing >"$work/log/before"
ok apply old.tflite u.tpb --simulate mcu-64k --pubkey k.pub
says 'applied, digest right'
says 'million to decode'
ok apply old.tflite u.tpb --simulate mcu-64k --pubkey k.pub --json
cp "$out" "$work/log/slow"
json 'j["workspace"] <= 65536 and j["flash_written"] == '"$new"
json 'j["flash_erased"] == ('"$new"' + 4095) // 4096 * 4096'
json 'j["total"]["ms"] == j["processor"]["ms"] + j["flash"]["ms"] > 0 and j["link"] is None'
# Twice the clock takes half of the processor's time, and a link comes on top.
ok apply old.tflite u.tpb --simulate mcu-64k --clock 128 --radio nb-iot --pubkey k.pub --json
python3 - "$work/log/slow" "$out" <<'CHECK'
import json, sys
slow, fast = (json.load(open(name)) for name in sys.argv[1:])
assert abs(slow['processor']['ms'] - 2 * fast['processor']['ms']) <= 2
assert slow['processor']['mj'] == fast['processor']['mj']
assert fast['link']['name'] == 'nb-iot' and fast['link']['ms'] > 1000
assert slow['decode_instructions'] == fast['decode_instructions'] > 1e6
CHECK
listing >"$work/log/after"
cmp "$work/log/before" "$work/log/after" || fail 'something was written'

# In place: old moves once, everything is decoded twice before it is over.
ok pack old.tflite new.tflite -o p.tpb --key k --profile mcu-64k --in-place
ok apply old.tflite p.tpb --simulate mcu-64k --pubkey k.pub --json
json 'j["flash_written"] == 2 * '"$new"' and j["flash_erased"] > 2 * '"$new"
json '2 <= j["checkpoint_records"] <= j["in_place"]["journal_records"]'

# Refused as the device would.
refuse 1 'needs a codec' apply old.tflite u.tpb --simulate mcu-16k --pubkey k.pub
echo '{"name": "tight", "like": "mcu-64k", "max_workspace": 16384}' >tight.json
refuse 5 'needs a workspace' apply old.tflite u.tpb --simulate tight.json --pubkey k.pub
refuse 4 'wrong old file' apply u.tpb p.tpb --simulate mcu-64k --pubkey k.pub
ok apply new.tflite p.tpb --simulate mcu-64k --pubkey k.pub
says 'nothing to do'
ok keygen -o other
refuse 3 'not trusted' apply old.tflite u.tpb --simulate mcu-64k --pubkey other.pub
refuse 2 'is of no microcontroller' apply old.tflite u.tpb --simulate linux --pubkey k.pub
refuse 2 'there is no link' apply old.tflite u.tpb --simulate mcu-64k --radio smoke --pubkey k.pub
refuse 2 'go with --simulate' apply old.tflite u.tpb -o n --radio nb-iot --pubkey k.pub
refuse 2 '--simulate needs OLD and BUNDLE' apply old.tflite u.tpb -o n --simulate mcu-64k \
  --pubkey k.pub
ok pack old.tflite new.tflite -o l.tpb --key k
refuse 5 'workspace' apply old.tflite l.tpb --simulate mcu-256k --pubkey k.pub
