#!/usr/bin/env python3
"""Writes small, seeded model files for tests and fuzz seeds: make_test_models.py [--small] FOLDER

The same files, bit for bit, on every machine: Python's standard library only, and of its random
numbers only random(). A keyword-spotting-like net (convolution, depthwise convolution, dense layer)
as TFLite (int8 with a scale a channel; float32; float32 with its buffers behind the FlatBuffer), as
safetensors (F32, F16, BF16), ONNX (float32; int8 in QDQ), GGUF (F32 and Q8_0), NumPy's npz, and as
PyTorch saves it, with and without zip. v2 is v1 after a little more training; `renamed` and
`reordered` hold the values of v2. --small shrinks the layers to a few bytes.
SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import io
import json
import pathlib
import pickle
import random
import struct
import sys
import types
import zipfile

SEED = 7


class FlatBuffer:
    """Writes tables front to back: a table is a list of fields in schema order, None if absent."""

    SCALARS = {"i8": ("<b", 1), "i32": ("<i", 4), "u32": ("<I", 4), "u64": ("<Q", 8)}

    def __init__(self, root, identifier):
        self.data = bytearray(8)
        self.data[4:8] = identifier
        struct.pack_into("<I", self.data, 0, self.table(root))

    def align(self, size, extra=0):
        """Pads so that the byte `extra` bytes from here is aligned."""
        self.data += bytes(-(len(self.data) + extra) % size)

    def table(self, fields):
        offsets, size = [], 4
        for field in fields:
            if field is None:
                offsets.append(0)
                continue
            width = self.SCALARS[field[0]][1] if field[0] in self.SCALARS else 4
            size += -size % width
            offsets.append(size)
            size += width
        self.align(8, extra=4 + 2 * len(fields))
        vtable = len(self.data)
        self.data += struct.pack(f"<{2 + len(fields)}H", 4 + 2 * len(fields), size, *offsets)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable) + bytes(size - 4)
        for field, offset in zip(fields, offsets):
            if field is not None:
                self.put(field, start + offset)
        return start

    def put(self, field, place):
        kind, value = field
        if kind in self.SCALARS:
            struct.pack_into(self.SCALARS[kind][0], self.data, place, value)
        else:
            struct.pack_into("<I", self.data, place, getattr(self, kind)(value) - place)

    def vector(self, count, content, align):
        self.align(max(align, 4), extra=4)
        start = len(self.data)
        self.data += struct.pack("<I", count) + content
        return start

    def floats(self, values):
        return self.vector(len(values), struct.pack(f"<{len(values)}f", *values), 4)

    def ints(self, values):
        return self.vector(len(values), struct.pack(f"<{len(values)}i", *values), 4)

    def longs(self, values):
        return self.vector(len(values), struct.pack(f"<{len(values)}q", *values), 8)

    def bytes(self, content):
        return self.vector(len(content), content, 16)

    def text(self, value):
        return self.vector(len(value), value.encode() + b"\0", 4)

    def tables(self, tables):
        start = self.vector(len(tables), bytes(4 * len(tables)), 4)
        for i, fields in enumerate(tables):
            place = start + 4 + 4 * i
            struct.pack_into("<I", self.data, place, self.table(fields) - place)
        return start


class Net:
    """Layers as lists of floats, with shapes in TFLite's order."""

    def __init__(self, small):
        channels, classes, side = (2, 2, 4) if small else (16, 10, 8)
        self.shapes = {
            "conv/kernel": [channels, 3, 3, 1], "conv/bias": [channels],
            "dw/kernel": [1, 3, 3, channels], "dw/bias": [channels],
            "fc/kernel": [classes, channels * side * side], "fc/bias": [classes],
        }
        source = random.Random(SEED)
        self.values = {}
        for name, shape in self.shapes.items():
            size = 1
            for dimension in shape:
                size *= dimension
            self.values[name] = [normal(source) * 0.25 for _ in range(size)]

    def trained(self):
        """A copy after a little more training: all values move a little, the dense layer more."""
        source = random.Random(SEED + 1)
        after = Net.__new__(Net)
        after.shapes = self.shapes
        after.values = {
            name: [v + normal(source) * (0.01 if name.startswith("fc") else 0.001) for v in values]
            for name, values in self.values.items()
        }
        return after


def normal(source):
    return sum(source.random() for _ in range(12)) - 6.0


def channel_of(shape, index):
    """The output channel of a value: innermost in depthwise kernels, else outermost."""
    if shape[0] == 1 and len(shape) == 4:
        return index % shape[-1]
    inner = 1
    for dimension in shape[1:]:
        inner *= dimension
    return index // inner


def quantise(values, shape):
    """int8 values and the scale of each channel."""
    channels = shape[-1] if shape[0] == 1 else shape[0]
    peaks = [1e-6] * channels
    for i, v in enumerate(values):
        peaks[channel_of(shape, i)] = max(peaks[channel_of(shape, i)], abs(v))
    scales = [struct.unpack("<f", struct.pack("<f", p / 127))[0] for p in peaks]
    codes = [max(-127, min(127, round(v / scales[channel_of(shape, i)])))
             for i, v in enumerate(values)]
    return codes, scales


FLOAT32, INT32, INT8 = 0, 2, 9
CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED = 3, 4, 9
INPUT_SCALE = 0.5


def tflite_tensors(net, is_int8):
    """(name, type, shape, content, scales) of every constant tensor."""
    for layer in ("conv", "dw", "fc"):
        kernel, bias = net.values[layer + "/kernel"], net.values[layer + "/bias"]
        shape = net.shapes[layer + "/kernel"]
        if not is_int8:
            yield layer + "/kernel", FLOAT32, shape, struct.pack(f"<{len(kernel)}f", *kernel), None
            yield layer + "/bias", FLOAT32, [len(bias)], struct.pack(f"<{len(bias)}f", *bias), None
            continue
        codes, scales = quantise(kernel, shape)
        yield layer + "/kernel", INT8, shape, struct.pack(f"<{len(codes)}b", *codes), scales
        scales = [s * INPUT_SCALE for s in scales]
        codes = [round(v / s) for v, s in zip(bias, scales)]
        yield layer + "/bias", INT32, [len(bias)], struct.pack(f"<{len(codes)}i", *codes), scales


def tflite_root(net, is_int8, places):
    """The Model table. places: None for inline buffers, else the offset of each."""
    buffers = [[]]
    activation = [None]
    if is_int8:
        activation = [("table", [None, None, ("floats", [INPUT_SCALE]), ("longs", [-1])])]
    tensors = [[("ints", [1, 8, 8, 1]), ("i8", INT8 if is_int8 else FLOAT32), ("u32", 0),
                ("text", "input"), *activation]]
    for i, (name, kind, shape, content, scales) in enumerate(tflite_tensors(net, is_int8)):
        buffers.append([("bytes", content)] if places is None else
                       [None, ("u64", places[i]), ("u64", len(content))])
        quantisation = scales and ("table", [None, None, ("floats", scales),
                                             ("longs", [0] * len(scales))])
        tensors.append([("ints", shape), ("i8", kind), ("u32", i + 1), ("text", name),
                        quantisation])
    codes = [[("i8", code), None, ("i32", 1), ("i32", code)]
             for code in (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED)]
    operators = [[("u32", i), ("ints", [0, 1 + 2 * i, 2 + 2 * i])] for i in range(3)]
    graph = [("tables", tensors), ("ints", [0]), ("ints", [0]), ("tables", operators),
             ("text", "main")]
    return [("u32", 3), ("tables", codes), ("tables", [graph]), ("text", "test model"),
            ("tables", buffers)]


def tflite(net, is_int8=True):
    return bytes(FlatBuffer(tflite_root(net, is_int8, None), b"TFL3").data)


def tflite_with_buffers_behind(net):
    contents = [tensor[3] for tensor in tflite_tensors(net, False)]
    size = len(FlatBuffer(tflite_root(net, False, [2] * len(contents)), b"TFL3").data)
    places, end = [], size
    for content in contents:
        end += -end % 16
        places.append(end)
        end += len(content)
    file = FlatBuffer(tflite_root(net, False, places), b"TFL3").data
    for place, content in zip(places, contents):
        file += bytes(place - len(file)) + content
    return bytes(file)


def pack_bf16(values):
    words = [struct.unpack("<I", struct.pack("<f", v))[0] for v in values]
    return struct.pack(f"<{len(words)}H", *[(w + 0x7FFF + ((w >> 16) & 1)) >> 16 for w in words])


PACKERS = {
    "F32": lambda values: struct.pack(f"<{len(values)}f", *values),
    "F16": lambda values: struct.pack(f"<{len(values)}e", *values),
    "BF16": pack_bf16,
}


def safetensors(net, dtype, rename=lambda name: name.replace("/", "."), order=sorted):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name in order(net.values):
        content = PACKERS[dtype](net.values[name])
        header[rename(name)] = {"dtype": dtype, "shape": net.shapes[name],
                                "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def proto(*fields):
    """A protobuf message: (number, int or bytes)."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def onnx(net):
    graph = []
    for layer, op in (("conv", b"Conv"), ("dw", b"Conv"), ("fc", b"Gemm")):
        names = [layer.encode() + part for part in (b"/kernel", b"/bias", b"/out")]
        graph.append((1, proto((1, b"input"), (1, names[0]), (1, names[1]), (2, names[2]),
                               (4, op))))
    graph.append((2, b"main"))
    for name, values in net.values.items():
        dimensions = [(1, d) for d in net.shapes[name]]
        graph.append((5, proto(*dimensions, (2, 1), (8, name.encode()),
                               (9, PACKERS["F32"](values)))))
    return proto((1, 8), (2, b"test"), (7, proto(*graph)), (8, proto((1, b""), (2, 17))))


def onnx_qdq(net, activation_scale):
    """Two layers in int8 between QuantizeLinear and DequantizeLinear, a scale for each channel."""
    nodes, tensors = [], []

    def tensor(name, dimensions, kind, content):
        tensors.append((5, proto(*[(1, d) for d in dimensions], (2, kind), (8, name.encode()),
                                 (9, content))))

    def node(op, inputs, out, *attributes):
        nodes.append((1, proto(*[(1, name.encode()) for name in inputs], (2, out.encode()),
                               (4, op), *[(5, a) for a in attributes])))

    axis = proto((1, b"axis"), (3, 0), (20, 2))
    tensor("x/scale", [], 1, struct.pack("<f", activation_scale))
    tensor("x/zero_point", [], 3, struct.pack("<b", -3))
    node(b"QuantizeLinear", ["input", "x/scale", "x/zero_point"], "x/quantised")
    node(b"DequantizeLinear", ["x/quantised", "x/scale", "x/zero_point"], "x")
    for layer, op in (("conv", b"Conv"), ("fc", b"Gemm")):
        kernel, bias = net.values[layer + "/kernel"], net.values[layer + "/bias"]
        shape = net.shapes[layer + "/kernel"]
        codes, scales = quantise(kernel, shape)
        activation, = struct.unpack("<f", struct.pack("<f", activation_scale))
        products = [s * activation for s in scales]
        rounded = [round(v / s) for v, s in zip(bias, products)]
        for part, kind, own_shape, content, of in (
                ("kernel", 3, shape, struct.pack(f"<{len(codes)}b", *codes), scales),
                ("bias", 6, [len(bias)], struct.pack(f"<{len(bias)}i", *rounded), products)):
            name = f"{layer}/{part}"
            tensor(name, own_shape, kind, content)
            tensor(name + "/scale", [len(of)], 1, struct.pack(f"<{len(of)}f", *of))
            tensor(name + "/zero_point", [len(of)], kind, bytes(len(of) * (1 if kind == 3 else 4)))
            node(b"DequantizeLinear", [name, name + "/scale", name + "/zero_point"], name + "/real",
                 axis)
        node(op, ["x", f"{layer}/kernel/real", f"{layer}/bias/real"], f"{layer}/out")
    real = proto((1, proto((1, 1), (2, b""))))  # a type: a tensor of float32
    graph = proto(*nodes, (2, b"test"), *tensors, (11, proto((1, b"input"), (2, real))),
                  *[(12, proto((1, out), (2, real))) for out in (b"conv/out", b"fc/out")])
    return proto((1, 8), (2, b"test"), (7, graph), (8, proto((1, b""), (2, 17))))


def q8_0(values):
    """Blocks of 32 int8 values behind their scale as float16."""
    out = b""
    for start in range(0, len(values), 32):
        block = values[start:start + 32]
        scale = max(map(abs, block)) / 127 or 1.0
        out += struct.pack("<e32b", scale, *[round(v / scale) for v in block])
    return out


def gguf(net):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    header = b"GGUF" + struct.pack("<IQQ", 3, len(net.values), 2)
    header += text("general.architecture") + struct.pack("<I", 8) + text("test")
    header += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("yes") + text("no")
    data = b""
    for name, values in net.values.items():
        shape = net.shapes[name]
        is_blocks = len(shape) > 1 and shape[-1] % 32 == 0
        header += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape),
                                           8 if is_blocks else 0, len(data))
        data += q8_0(values) if is_blocks else PACKERS["F32"](values)
        data += bytes(-len(data) % 32)
    return header + bytes(-len(header) % 32) + data


def zipped(members):
    """A zip file without compression; the same on every machine."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            archive.writestr(info, content)
    return out.getvalue()


def npz(net):
    members = {}
    for name, values in net.values.items():
        shape = tuple(net.shapes[name])
        header = str({"descr": "<f4", "fortran_order": False, "shape": shape})
        header += " " * (-(len(header) + 11) % 64) + "\n"
        members[name.replace("/", ".") + ".npy"] = (
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
            PACKERS["F32"](values))
    return zipped(members)


class TorchPickler(pickle.Pickler):
    """Pickles tensors as torch.save does, by names that stand for functions of PyTorch."""

    class Storage:
        def __init__(self, key, values):
            self.key, self.values = key, values

    class Tensor:
        def __init__(self, storage, shape):
            self.storage, self.shape = storage, shape

        def __reduce__(self):
            strides = [1]
            for dimension in reversed(self.shape[1:]):
                strides.insert(0, strides[0] * dimension)
            return sys.modules["torch._utils"]._rebuild_tensor_v2, (
                self.storage, 0, tuple(self.shape), tuple(strides), False,
                collections.OrderedDict())

    def persistent_id(self, obj):
        if not isinstance(obj, self.Storage):
            return None
        return "storage", sys.modules["torch"].FloatStorage, obj.key, "cpu", len(obj.values)

    @staticmethod
    def dumps(obj):
        torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
        torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})

        def rebuild():
            pass
        rebuild.__module__, rebuild.__name__ = "torch._utils", "_rebuild_tensor_v2"
        rebuild.__qualname__, utils._rebuild_tensor_v2 = rebuild.__name__, rebuild
        sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
        out = io.BytesIO()
        TorchPickler(out, 2).dump(obj)
        return out.getvalue()


def torch_state(net):
    """The pickled state and its storages by key."""
    storages = {str(i): values for i, values in enumerate(net.values.values())}
    state = collections.OrderedDict(
        (name.replace("/", "."),
         TorchPickler.Tensor(TorchPickler.Storage(str(i), values), net.shapes[name]))
        for i, (name, values) in enumerate(net.values.items()))
    return TorchPickler.dumps({"epoch": 7, "state_dict": state}), storages


def torch_zip(net):
    state, storages = torch_state(net)
    members = {"archive/data.pkl": state}
    for key, values in storages.items():
        members["archive/data/" + key] = PACKERS["F32"](values)
    return zipped(members | {"archive/version": b"3\n"})


def torch_legacy(net):
    state, storages = torch_state(net)
    out = b"".join(pickle.dumps(part, 2) for part in (
        0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}))
    out += state + pickle.dumps(sorted(storages), 2)
    for key in sorted(storages):
        out += struct.pack("<Q", len(storages[key])) + PACKERS["F32"](storages[key])
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true")
    parser.add_argument("folder", type=pathlib.Path)
    options = parser.parse_args()
    v1 = Net(options.small)
    v2 = v1.trained()
    files = {}
    for version, net in (("v1", v1), ("v2", v2)):
        files[f"{version}.int8.tflite"] = tflite(net)
        files[f"{version}.f32.tflite"] = tflite(net, is_int8=False)
        files[f"{version}.behind.tflite"] = tflite_with_buffers_behind(net)
        files[f"{version}.onnx"] = onnx(net)
        files[f"{version}.qdq.onnx"] = onnx_qdq(net, 0.5 if version == "v1" else 0.505)
        files[f"{version}.gguf"] = gguf(net)
        files[f"{version}.npz"] = npz(net)
        files[f"{version}.pt"] = torch_zip(net)
        files[f"{version}.legacy.pt"] = torch_legacy(net)
        for dtype in PACKERS:
            files[f"{version}.{dtype.lower()}.safetensors"] = safetensors(net, dtype)
    files["v2.renamed.safetensors"] = safetensors(
        v2, "F32", rename=lambda name: "model.layers." + name.replace("/kernel", ".weight"))
    files["v2.reordered.safetensors"] = safetensors(
        v2, "F32", order=lambda names: sorted(names, reverse=True))
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (options.folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
