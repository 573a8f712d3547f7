# quantised.py: snaps int8 networks that are really trained, packs them, and measures both.
#
# usage: quantised.py TENSORPATCH FOLDER [--table FILE]
# FOLDER is what `scripts/bench train -o FOLDER` has written: TFLite files by TensorFlow's converter
# (`spotter`), ONNX files by ONNX Runtime's quantiser (`keywords`, QDQ), and updates for a shifted
# domain. For each update: sizes of real bundles, lossless and on grids of 0.25, 1 and 2, and the
# accuracy on held-out data of the update's task and of the old one, by TFLite and ONNX Runtime.
# Checked is that no grid makes a bundle larger, and that 0.25 and 1 change no accuracy beyond the
# noise of the test set. Needs TensorFlow and ONNX Runtime.
# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'benchmarks'))
from harness import train as plan  # noqa: E402

GRIDS = (0.25, 1, 2)
UPDATES = ('fine-tuned-adam-0.001', 'fine-tuned-adam-0.0001', 'fine-tuned-sgd-0.01', 'merged-lora',
           'pruned')
SETS = (plan.chirps(4001, 0.5, 2048), plan.chirps(4000, 0.0, 2048))  # the update's task, the old
MOST_LOST = 1.5  # points: two standard errors of 2048 examples at 90 %


def call(program, *arguments):
    done = subprocess.run([program, *map(str, arguments), '--json'], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f'{arguments}: {done.stderr}')
    return json.loads(done.stdout)


def tflite(path):
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    import tensorflow
    interpreter = tensorflow.lite.Interpreter(str(path))

    def run(images):
        image = interpreter.get_input_details()[0]
        scale, zero = image['quantization']
        interpreter.resize_tensor_input(image['index'], images[..., None].shape)
        interpreter.allocate_tensors()
        codes = numpy.clip(numpy.round(images / scale + zero), -128, 127).astype('int8')
        interpreter.set_tensor(image['index'], codes[..., None])
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]['index'])
    return run


def onnx(path):
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda images: numpy.concatenate(
        [session.run(None, {name: image[None, None]})[0] for image in images])


def accuracies(path):
    """In per cent, on the data of the update's task and of the old one."""
    run = (tflite if path.suffix == '.tflite' else onnx)(path)
    return [100 * float(numpy.mean(run(images).argmax(1) == labels)) for images, labels in SETS]


class Pair:
    def __init__(self, program, folder, trained, name):
        network, update, form = name
        self.name = f'{network} ({form.split(".")[1]}), {update.replace("-", " ")}'
        old = trained / f'{network}-base.{form}'
        new = trained / f'{network}-{update}.{form}'
        self.full = new.stat().st_size
        self.sizes, self.metrics = {}, {'old': accuracies(old)}
        for key in (None, *GRIDS):
            path = new
            if key is not None:
                path = folder / f'{key}.{form}'
                call(program, 'snap', old, new, '-o', path, '--grid', key, '--force')
            bundle = call(program, 'pack', old, path, '-o', folder / 'x.tpb', '--force')
            self.sizes[key] = bundle['bundle_size']
            self.metrics[key] = accuracies(path)

    def gains(self, key):
        return [of - new for of, new in zip(self.metrics[key], self.metrics[None])]

    def row(self):
        def change(key):
            return ' / '.join(f'{gain:+.1f}' for gain in self.gains(key))
        cells = [self.name, f'{self.full:,}', f'{self.full / self.sizes[None]:.2f}x',
                 ' / '.join(f'{value:.1f}' for value in self.metrics[None]), change('old')]
        cells += [f'{self.full / self.sizes[grid]:.1f}x, {change(grid)}' for grid in GRIDS]
        return '| ' + ' | '.join(cells) + ' |'

    def failures(self):
        for grid in GRIDS:
            if self.sizes[grid] > self.sizes[None] * 1.01 + 16:
                yield f'{self.name}: a grid of {grid} makes the bundle larger: {self.sizes}'
            if grid <= 1 and min(self.gains(grid)) < -MOST_LOST:
                yield f'{self.name}: a grid of {grid} costs {self.gains(grid)} points'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('program')
    parser.add_argument('trained', type=pathlib.Path)
    parser.add_argument('--table', type=pathlib.Path)
    options = parser.parse_args()
    rows, failures = [], []
    for network, form in (('spotter', 'int8.tflite'), ('keywords', 'int8.onnx')):
        for update in UPDATES:
            with tempfile.TemporaryDirectory() as folder:
                pair = Pair(options.program, pathlib.Path(folder), options.trained,
                            (network, update, form))
            failures += pair.failures()
            rows.append(pair.row())
            print(rows[-1], flush=True)
    if options.table:
        head = ('pair (int8)', 'bytes', 'lossless', 'new', 'keep old',
                *(f'grid {grid}' for grid in GRIDS))
        options.table.write_text('\n'.join(
            ['| ' + ' | '.join(head) + ' |', '|---' * len(head) + '|', *rows]) + '\n')
    print('\n'.join(failures) or 'all as expected')
    sys.exit(1 if failures else 0)


if __name__ == '__main__':
    main()
