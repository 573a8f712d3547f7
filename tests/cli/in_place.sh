# in_place.sh: bundles that a device applies over its old file, and bundles that lead back.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
models
old=$(size_of old.tflite)

# In place: what the device needs is told, and is what was asked for.
ok pack old.tflite new.tflite -o p.tpb --key k --profile mcu-64k --in-place --region 160K --json
json 'j["in_place"]["region_size"] <= 160 * 1024 and j["in_place"]["margin"] >= 8192'
json 'j["in_place"]["journal_records"] >= 2'
ok inspect p.tpb
says 'in place'
says 'journal record'
ok inspect p.tpb --json
json 'j["contract"]["in_place"]["margin"] % 4096 == 0 and j["undo"] is False'
json 'j["contract"]["flash_erased"] >= '"$old"' * 2'
# With room for both it is applied as any other.
ok apply old.tflite p.tpb -o n --pubkey k.pub
same n new.tflite
ok verify p.tpb --pubkey k.pub --old old.tflite

# A device that cannot hold it, by the command line or by its profile.
refuse 5 'cannot hold the files' pack old.tflite new.tflite -o no.tpb --profile mcu-64k --in-place \
  --region 112K
echo '{"name": "small", "like": "mcu-64k", "region_size": 114688}' >small.json
refuse 5 'cannot hold the files' pack old.tflite new.tflite -o no.tpb --profile ./small.json \
  --in-place
refuse 2 'goes with --in-place' pack old.tflite new.tflite -o no.tpb --region 1M
refuse 2 'one component with an old file' pack --full new.tflite -o no.tpb --in-place

# Undo leads from new back to old, and only where it is accepted.
refuse 2 'needs the security version' pack old.tflite new.tflite -o u.tpb --with-undo u.undo.tpb \
  --security-version 2
refuse 2 'goes with --with-undo' pack old.tflite new.tflite -o u.tpb --undo-security-version 2
refuse 2 'leads back to nothing' pack --full new.tflite -o u.tpb --with-undo u.undo.tpb
ok pack old.tflite new.tflite -o u.tpb --key k --with-undo u.undo.tpb --sequence 9 \
  --security-version 2 --undo-security-version 1 --json
json 'j["undo"]["bundle"] == "u.undo.tpb" and j["undo"]["bundle_size"] > 400'
refuse 1 'exists' pack old.tflite new.tflite -o v.tpb --with-undo u.undo.tpb
ok inspect u.undo.tpb --json
json 'j["undo"] and j["sequence"] == 9 and j["security_version"] == 1'
ok verify u.undo.tpb --pubkey k.pub --old new.tflite
refuse 3 'leads back from an update' apply new.tflite u.undo.tpb -o b --pubkey k.pub
refuse 3 'security version' apply new.tflite u.undo.tpb -o b --pubkey k.pub --undo \
  --min-security-version 2
refuse 4 'wrong old file' apply k u.undo.tpb -o b --pubkey k.pub --undo
ok apply new.tflite u.undo.tpb -o b --pubkey k.pub --undo --min-sequence 9
same b old.tflite
# --undo does not stand in the way of an update.
ok apply old.tflite u.tpb -o m --pubkey k.pub --undo
same m new.tflite

# Both: back in place.
ok pack old.tflite new.tflite -o both.tpb --key k --profile mcu-64k --in-place \
  --with-undo both.undo.tpb
ok inspect both.undo.tpb --json
json 'j["undo"] and j["contract"]["in_place"]["margin"] > 0'
