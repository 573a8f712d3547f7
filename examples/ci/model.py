#!/usr/bin/env python3
# model.py: stands for a team's own training code in release.sh: a small network that tells noisy
# patterns apart, trained, fine-tuned, judged and run in plain Python.
#
# usage: model.py train MODEL                  a first model
#        model.py tune OLD MODEL               OLD fine-tuned for a noisier world
#        model.py judge MODEL old|new          prints the accuracy on held-out data of a world
#        model.py run MODEL                    prints the class of one example
# MODEL is a safetensors file. Results are the same on every run.
# SPDX-License-Identifier: Apache-2.0
import array
import json
import math
import random
import struct
import sys

CLASSES, INPUTS, HIDDEN = 6, 24, 40
SHAPES = {'hidden.weight': (HIDDEN, INPUTS), 'hidden.bias': (HIDDEN,),
          'out.weight': (CLASSES, HIDDEN), 'out.bias': (CLASSES,)}
WORLDS = {'old': (0.0, 0.55), 'new': (0.9, 0.65)}  # shift of the patterns, noise


def examples(world, seed, count):
    shift, noise = WORLDS[world]
    source = random.Random(seed)
    for _ in range(count):
        label = source.randrange(CLASSES)
        yield label, [math.sin((label + 2) * 0.35 * i + shift * (i % 3)) + source.gauss(0, noise)
                      for i in range(INPUTS)]


def load(path):
    with open(path, 'rb') as file:
        data = file.read()
    size = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + size])
    weights = {}
    for name, entry in header.items():
        begin, end = entry['data_offsets']
        weights[name] = array.array('f', data[8 + size + begin:8 + size + end])
    return weights


def save(path, weights):
    header, data = {}, b''
    for name, shape in SHAPES.items():
        raw = weights[name].tobytes()
        header[name] = {'dtype': 'F32', 'shape': shape,
                        'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


def forward(weights, x):
    def layer(name, values, count):
        matrix, bias = weights[name + '.weight'], weights[name + '.bias']
        width = len(values)
        return [bias[i] + sum(a * b for a, b in zip(matrix[i * width:(i + 1) * width], values))
                for i in range(count)]
    hidden = [max(0.0, h) for h in layer('hidden', x, HIDDEN)]
    return hidden, layer('out', hidden, CLASSES)


def learn(weights, data, rate):
    for label, x in data:
        hidden, scores = forward(weights, x)
        top = max(scores)
        powers = [math.exp(s - top) for s in scores]
        total = sum(powers)
        slopes = [p / total - (i == label) for i, p in enumerate(powers)]
        out, back = weights['out.weight'], [0.0] * HIDDEN
        for i, slope in enumerate(slopes):
            for j in range(HIDDEN):
                back[j] += slope * out[i * HIDDEN + j]
                out[i * HIDDEN + j] -= rate * slope * hidden[j]
            weights['out.bias'][i] -= rate * slope
        for j in range(HIDDEN):
            if hidden[j] == 0:
                continue
            for i in range(INPUTS):
                weights['hidden.weight'][j * INPUTS + i] -= rate * back[j] * x[i]
            weights['hidden.bias'][j] -= rate * back[j]
    return weights


def first():
    source = random.Random(1)
    weights = {}
    for name, shape in SHAPES.items():
        spread = 1 / math.sqrt(shape[-1]) if len(shape) > 1 else 0
        weights[name] = array.array('f', (source.gauss(0, spread) for _ in range(math.prod(shape))))
    return weights


def accuracy(weights, world):
    right = [max(range(CLASSES), key=forward(weights, x)[1].__getitem__) == label
             for label, x in examples(world, 3, 300)]
    return sum(right) / len(right)


def main(command, path, *rest):
    if command == 'train':
        save(path, learn(first(), examples('old', 2, 700), 0.02))
    elif command == 'tune':
        save(rest[0], learn(load(path), examples('new', 4, 400), 0.01))
    elif command == 'judge':
        print(f'accuracy: {accuracy(load(path), rest[0]):.4f}')
    else:
        label, x = next(examples('new', 6, 1))
        scores = forward(load(path), x)[1]
        print(f'class {max(range(CLASSES), key=scores.__getitem__)}, it was {label}')


if __name__ == '__main__':
    main(*sys.argv[1:])
