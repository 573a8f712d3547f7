#!/usr/bin/env python3
# runtime_test.py: applied models load and infer as the new ones do, in runtimes of devices.
#
# usage: runtime_test.py PROGRAM TESTDATA [PAIRS]
# Each pair is packed and applied; then LiteRT or ONNX Runtime loads old, new and the applied file:
# the same random inputs must give the same bits from applied and new, and others from old. TFLite:
# the network of testdata. ONNX: small networks that are trained here, float and quantised, with
# weights inside and in a data file. PAIRS is a folder with more: NAME.old.EXT and NAME.new.EXT.
# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

SEED = 11


# --- networks trained with numpy ------------------------------------------------------------------

def train(weights, rounds, rate):
    """A net of 64 inputs, 96 hidden units and 8 outputs learns a fixed made-up function."""
    source = np.random.default_rng(SEED)
    teacher = source.normal(size=(64, 8))
    w1, b1, w2, b2 = (value.copy() for value in weights)
    for _ in range(rounds):
        x = source.normal(size=(128, 64))
        hidden = np.maximum(x @ w1 + b1, 0)
        error = (hidden @ w2 + b2 - np.tanh(x @ teacher)) / len(x)
        back = (error @ w2.T) * (hidden > 0)
        w2 -= rate * hidden.T @ error
        b2 -= rate * error.sum(0)
        w1 -= rate * x.T @ back
        b1 -= rate * back.sum(0)
    return w1, b1, w2, b2


def untrained():
    source = np.random.default_rng(SEED + 1)
    return (source.normal(size=(64, 96)) / 8, np.zeros(96), source.normal(size=(96, 8)) / 10,
            np.zeros(8))


def onnx_net(weights, is_quantised):
    """The net as an ONNX model; quantised: int8 weights with a scale a column."""
    nodes, initializers = [], []

    def constant(name, value):
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def matrix(name, value):
        if not is_quantised:
            return constant(name, value.astype(np.float32))
        scale = (np.abs(value).max(0) / 127).astype(np.float32)
        constant(name + "_q", np.rint(value / scale).clip(-127, 127).astype(np.int8))
        constant(name + "_scale", scale)
        constant(name + "_zero", np.zeros(scale.shape, np.int8))
        nodes.append(helper.make_node("DequantizeLinear",
                                      [name + "_q", name + "_scale", name + "_zero"], [name],
                                      axis=1))
        return name

    w1, b1, w2, b2 = weights
    x, shape = "x", lambda count: ["n", count]
    for layer, (w, b) in enumerate([(w1, b1), (w2, b2)]):
        product, total = f"product{layer}", f"sum{layer}"
        nodes.append(helper.make_node("MatMul", [x, matrix(f"w{layer}", w)], [product]))
        nodes.append(helper.make_node(
            "Add", [product, constant(f"b{layer}", b.astype(np.float32))], [total]))
        x = total
        if layer == 0:
            nodes.append(helper.make_node("Relu", [total], ["hidden"]))
            x = "hidden"
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape(64))],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape(8))], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def make_pairs(folder, testdata):
    """Lists of (name, [(old file, new file), ...]), the model first, then its data files."""
    first = train(untrained(), 300, 0.02)
    second = train(first, 20, 0.0005)
    pairs = [("tflite-int8", [(testdata / "quickstart/old.tflite",
                               testdata / "quickstart/new.tflite")])]
    for name, is_quantised in [("onnx-float", False), ("onnx-int8", True)]:
        files = []
        for version, weights in [("old", first), ("new", second)]:
            files.append(folder / f"{name}.{version}.onnx")
            onnx.save(onnx_net(weights, is_quantised), files[-1])
        pairs.append((name, [tuple(files)]))
    for version, weights in [("old", first), ("new", second)]:
        (folder / version).mkdir()
        onnx.save(onnx_net(weights, False), folder / version / "m.onnx", save_as_external_data=True,
                  location="m.data", size_threshold=256)
    pairs.append(("onnx-data-file", [(folder / "old" / file, folder / "new" / file)
                                     for file in ("m.onnx", "m.data")]))
    return pairs


# --- running them ---------------------------------------------------------------------------------

def random_input(shape, dtype, source):
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        return source.integers(max(limits.min, -128), min(limits.max, 127), shape, dtype=dtype)
    return source.normal(size=shape).astype(dtype)


def infer_tflite(path, source):
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"],
                               random_input(detail["shape"].tolist(), detail["dtype"], source))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]).tobytes()
            for detail in interpreter.get_output_details()]


ONNX_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64,
              "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int8)": np.int8,
              "tensor(uint8)": np.uint8}


def infer_onnx(path, source):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {one.name: random_input(one.shape, ONNX_TYPES[one.type], source)
              for one in session.get_inputs()}
    return [np.asarray(value).tobytes() for value in session.run(None, inputs)]


def infer(path):
    """The outputs for five random inputs, the same for every file."""
    run = infer_tflite if path.suffix == ".tflite" else infer_onnx
    source = np.random.default_rng(SEED)
    try:
        return [run(path, source) for _ in range(5)]
    except Exception as error:  # of either runtime: what it says must be the same, too
        return f"{type(error).__name__}: {error}".replace(str(path), "FILE")


def check(program, name, files, folder):
    folder = folder / f"{name}.run"
    folder.mkdir()
    key, bundle = folder / "k", folder / "u.tpb"

    def tensorpatch(*arguments):
        subprocess.run([program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)

    made = [folder / new.name.replace(".new.", ".") for _, new in files]
    named = [("--component", f"c{i}", old) for i, (old, _) in enumerate(files)]
    tensorpatch("keygen", "-o", key)
    tensorpatch("pack", "-o", bundle, "--key", key,
                *(part for start, (_, new) in zip(named, files) for part in (*start, new)))
    tensorpatch("apply", bundle, "--pubkey", f"{key}.pub",
                *(part for start, new in zip(named, made) for part in (*start, new)))
    for (_, new), applied in zip(files, made):
        assert applied.read_bytes() == new.read_bytes(), f"{name}: {applied} is not new"
    old_outputs, new_outputs, outputs = (infer(path) for path in (*files[0], made[0]))
    assert outputs == new_outputs, f"{name}: the applied model infers otherwise than new"
    size = sum(new.stat().st_size for _, new in files)
    differs = "old infers otherwise" if old_outputs != new_outputs else "old infers the same"
    is_run = isinstance(new_outputs, list)
    print(f"ok {name}: {bundle.stat().st_size} bytes for {size};",
          differs if is_run else f"new and applied are both refused: {new_outputs[:100]}",
          flush=True)
    return is_run and old_outputs != new_outputs


def main():
    program, testdata = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for pair_name, files in make_pairs(folder, testdata):
            # Training changed them: a test that could not tell old from new would show nothing.
            assert check(program, pair_name, files, folder), f"{pair_name} does not run, or as old"
        if len(sys.argv) > 3:
            for old in sorted(pathlib.Path(sys.argv[3]).glob("*.old.*")):
                new = old.with_name(old.name.replace(".old.", ".new."))
                check(program, old.name.split(".old.")[0], [(old, new)], folder)


if __name__ == "__main__":
    main()
