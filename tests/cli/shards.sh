# shards.sh: models of several files: tensors that move between them, an ONNX model and its data.
# SPDX-License-Identifier: Apache-2.0
. "$(dirname "$0")/lib.sh"
ok keygen -o k
python3 - <<'END'
import json
import os
import random
import struct

random.seed(1)
SIZE = 60000
TENSORS = {name: bytes(random.randrange(256) for _ in range(SIZE)) for name in "abcd"}


def shard(path, names):
    header, end = {}, 0
    for name in names:
        header[name] = {"dtype": "I8", "shape": [SIZE], "data_offsets": [end, end + SIZE]}
        end += SIZE
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(TENSORS[n] for n in names))


shard("old1", "ab")
shard("old2", "cd")
shard("new1", "cb")
shard("new2", "ad")


def message(*fields):
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += bytes([number << 3, value])
        else:
            out += bytes([number << 3 | 2]) + (
                bytes([len(value)]) if len(value) < 128 else
                bytes([len(value) & 127 | 128, len(value) >> 7])) + value
    return out


def onnx(path, places):
    tensors = []
    for name, (offset, size) in places.items():
        entries = [("location", "weights.bin"), ("offset", str(offset)), ("length", str(size))]
        tensors.append((5, message((1, 100), (1, size // 400), (2, 1), (8, name.encode()), *[
            (13, message((1, key.encode()), (2, value.encode()))) for key, value in entries],
            (14, 1))))
    with open(path, "wb") as file:
        file.write(message((1, 8), (2, b"test"), (7, message((2, b"main"), *tensors))))


values = [random.gauss(0, 1) for _ in range(5000)]
more = [random.gauss(0, 1) for _ in range(5000)]
pack = lambda numbers: struct.pack(f"<{len(numbers)}f", *numbers)
os.mkdir("v1")
os.mkdir("v2")
onnx("v1/m.onnx", {"first": (0, 20000), "second": (20000, 20000)})
onnx("v2/m.onnx", {"second": (0, 20000), "first": (20000, 20000)})
open("v1/weights.bin", "wb").write(pack(values) + pack(more))
open("v2/weights.bin", "wb").write(
    pack([v * 1.0001 for v in more]) + pack([v * 1.0001 for v in values]))
END

# Two tensors change places between two files: copies, whichever file they are in.
ok pack --component one old1 new1 --component two old2 new2 -o u.tpb --key k
[ "$(size_of u.tpb)" -lt 2500 ] || fail "moved tensors cost $(size_of u.tpb) bytes"
ok apply u.tpb --component one old1 n1 --component two old2 n2 --pubkey k.pub
same n1 new1
same n2 new2

# The tensors of an ONNX model are known in its data file.
ok pack --component model v1/m.onnx v2/m.onnx --component weights v1/weights.bin v2/weights.bin \
  -o m.tpb --key k --json
json '[c["format"] for c in j["components"]] == ["onnx", "onnx-data"]'
ok apply m.tpb --component model v1/m.onnx n.onnx --component weights v1/weights.bin w.bin \
  --pubkey k.pub
same n.onnx v2/m.onnx
same w.bin v2/weights.bin
ok pack v1/weights.bin v2/weights.bin -o alone.tpb --key k --json
json '[c["format"] for c in j["components"]] == ["raw"]'
