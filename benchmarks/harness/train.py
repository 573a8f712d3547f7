# harness/train.py: `bench train`: small models really trained, and the updates that people make.
#
# Three networks: a keyword spotter and a language model in PyTorch (train_torch.py), a keyword
# spotter in TensorFlow (train_tensorflow.py). Their data are made here, so nothing is downloaded.
# Each update starts from the same trained weights, except `from scratch`, and every file is written
# by the converter that people use. benchmarks/requirements-train.txt pins all of them; with those
# versions, one processor type and one seed the files are the same every time.
# SPDX-License-Identifier: Apache-2.0
import importlib
import importlib.util
import os

BACKENDS = {'torch': 'train_torch', 'tensorflow': 'train_tensorflow'}
BASE_STEPS, UPDATE_STEPS = 600, 150
RATES = (1e-3, 1e-4, 1e-5)  # of full fine-tuning by Adam


def slug(kind):
    return kind.replace(',', '').replace(' ', '-').lower()


def row(network, kind, form, old, new):
    group = 'scratch' if kind == 'from scratch' else 'lineage'
    return '\t'.join([f'{network}-{slug(kind)}-{form}', group, network, form, kind, old, new])


def chirps(seed, shift=0.0, count=1024):
    """Spectrogram-like 32x32 images of one of ten chirps in noise; `shift` moves the domain."""
    import numpy
    generator = numpy.random.default_rng(seed)
    labels = generator.integers(10, size=count)
    time = numpy.arange(32.0)
    start = generator.random((count, 1)) * 8
    wave = numpy.sin(time[None] * (0.2 + 0.05 * labels[:, None])) * 3
    middle = (4 + labels[:, None] * 2.4 + wave + start * 0.3 + shift * 4)[:, None, :]
    image = numpy.exp(-(numpy.arange(32.0)[None, :, None] - middle) ** 2 / 3)
    image += generator.standard_normal(image.shape) * (0.3 + 0.2 * shift)
    return image.astype('float32'), labels.astype('int64')


def sentences(seed, shift=0.0, count=512, length=65):
    """Texts over 64 symbols, each by the two before it; `shift` of the rules are other rules."""
    import numpy
    generator = numpy.random.default_rng(99)
    followers = generator.integers(64, size=(64, 64, 4))
    moved = generator.integers(64, size=(64, 64, 4))
    followers = numpy.where(generator.random((64, 64, 1)) < shift, moved, followers)
    generator = numpy.random.default_rng(seed)
    texts = numpy.zeros((count, length), dtype='int64')
    texts[:, :2] = generator.integers(64, size=(count, 2))
    for at in range(2, length):
        pick = numpy.minimum(generator.geometric(0.6, size=count) - 1, 3)
        texts[:, at] = followers[texts[:, at - 2], texts[:, at - 1], pick]
    return texts


def run(options):
    # Before TensorFlow is imported: the same sums in the same order, no words about the machine.
    os.environ |= {'TF_ENABLE_ONEDNN_OPTS': '0', 'TF_CPP_MIN_LOG_LEVEL': '3',
                   'CUDA_VISIBLE_DEVICES': ''}
    options.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for package, module in BACKENDS.items():
        if importlib.util.find_spec(package) is None:
            print(f'left out: the Python package {package} is not installed; '
                  'pip install -r benchmarks/requirements-train.txt')
            continue
        backend = importlib.import_module(f'harness.{module}')
        rows += [row(network, kind, form, old, new)
                 for network, kind, files in backend.train(options)
                 for form, (old, new) in files.items()]
    if not rows:
        raise SystemExit('bench train: nothing was trained')
    head = 'id\tgroup\tfamily\tformat\tkind\told\tnew'
    (options.output / 'pairs.tsv').write_text('\n'.join([head, *rows]) + '\n', encoding='utf-8')
    print(f'{len(rows)} pairs in {options.output}')
    return 0
