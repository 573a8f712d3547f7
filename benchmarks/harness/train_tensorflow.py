# harness/train_tensorflow.py: the network of `bench train` in TensorFlow, as TFLite files.
#
# Depthwise-separable convolutions with batch norm, written by TensorFlow's converter: int8, with
# ranges taken from data, as microcontrollers run it, and float32.
# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import math
import tempfile
import warnings

import numpy
import tensorflow as tf

from harness import train as plan

keras = tf.keras
NETWORK = 'spotter'
FORMS = ('int8.tflite', 'f32.tflite')


def fresh(seed):
    keras.utils.set_random_seed(seed)
    layers = keras.layers

    def block(x):
        for part in (layers.DepthwiseConv2D(3, padding='same', use_bias=False),
                     layers.Conv2D(64, 1, use_bias=False)):
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(part(x)))
        return x
    image = keras.Input((32, 32, 1), name='image')
    x = layers.Conv2D(64, 5, strides=2, padding='same', use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    for _ in range(4):
        x = block(x)
    label = layers.Dense(10, name='label')(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, label)


def copy_of(model):
    copy = fresh(0)
    copy.set_weights(model.get_weights())
    return copy


# --- training -------------------------------------------------------------------------------------

def step_of(model, optimizer, variables, batch_norm=True):
    """A compiled step; without batch_norm its statistics stay as they are."""
    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, model(images, training=batch_norm)))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return step


def batches(data, steps):
    for number in range(steps):
        rows = numpy.arange(number * 32, number * 32 + 32) % len(data[1])
        yield data[0][rows], data[1][rows]


def fit(model, data, rate, steps, kind='Adam', variables=None, after=lambda: None):
    optimizer = getattr(keras.optimizers, kind)(rate)
    step = step_of(model, optimizer, variables or model.trainable_variables, variables is None)
    for images, labels in batches(data, steps):
        step(images, labels)
        after()
    return model


def merged_lora(model, data, steps, rank=4):
    """Trains factors of the 1x1 convolutions only; each weight is the old one plus a product."""
    kernels = [layer.kernel for layer in model.layers
               if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1) and
               not isinstance(layer, keras.layers.DepthwiseConv2D)]
    before = [tf.identity(kernel) for kernel in kernels]
    generator = numpy.random.default_rng(5)
    up = [tf.Variable(generator.standard_normal((64, rank)).astype('float32') * 0.05)
          for _ in kernels]
    down = [tf.Variable(tf.zeros((rank, 64))) for _ in kernels]
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels, model(images, training=False)))
        slopes = [slope[0, 0] for slope in tape.gradient(loss, kernels)]
        pairs = [(slope @ tf.transpose(d), u) for slope, u, d in zip(slopes, up, down)]
        pairs += [(tf.transpose(u) @ slope, d) for slope, u, d in zip(slopes, up, down)]
        optimizer.apply_gradients(pairs)
        for kernel, weight, u, d in zip(kernels, before, up, down):
            kernel.assign(weight + (u @ d)[None, None])
    for images, labels in batches(data, steps):
        step(images, labels)
    return model


def pruned(model, data, steps, share=0.5):
    """The smallest half of each kernel to zero, where it stays while the rest is trained on."""
    tensors = [tensor for tensor in model.trainable_variables if len(tensor.shape) > 1]
    masks = []
    for tensor in tensors:
        sizes = numpy.abs(tensor.numpy())
        limit = numpy.sort(sizes, axis=None)[math.floor(share * sizes.size)]
        masks.append((sizes >= limit).astype('float32'))

    def keep():
        for tensor, mask in zip(tensors, masks):
            tensor.assign(tensor * mask)
    keep()
    return fit(model, data, 1e-4, steps, after=keep)


def batch_norm(model, data):
    for images, _ in batches(data, 32):
        model(images, training=True)
    return model


# --- files ----------------------------------------------------------------------------------------

def save(folder, name, model, form, data, saved_model=False):
    """By the converter, from Keras or from a SavedModel; int8 takes its ranges from data."""
    with (contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(),
          tempfile.TemporaryDirectory() as saved):
        warnings.simplefilter('ignore')
        data = convert(model, form, data, saved if saved_model else None)
    path = f'{NETWORK}-{name}.{form}'
    (folder / path).write_bytes(data)
    return path


def convert(model, form, data, saved):
    if saved:
        model.export(saved, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(saved)
    else:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if form.startswith('int8'):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in data[0][:128])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def updates(base, old, new, seed):
    """(kind, function that makes it from a copy of the base)."""
    steps = plan.UPDATE_STEPS
    yield 'last layer', lambda model: fit(
        model, new, 1e-3, steps, variables=model.get_layer('label').trainable_variables)
    for rate in plan.RATES:
        yield (f'fine-tuned, Adam {rate:g}',
               lambda model, rate=rate: fit(model, new, rate, steps))
    yield 'fine-tuned, SGD 0.01', lambda model: fit(model, new, 0.01, steps, kind='SGD')
    yield 'merged LoRA', lambda model: merged_lora(model, new, steps)
    yield 'pruned', lambda model: pruned(model, old, steps)
    yield 'batch norm re-estimated', lambda model: batch_norm(model, new)
    yield 'from scratch', lambda _: fit(fresh(seed + 99), old, 1e-3, plan.BASE_STEPS)


def accuracy(model, data):
    return float(numpy.mean(numpy.argmax(model(data[0]).numpy(), axis=1) == data[1]))


def train(options):
    """(network, kind, {format: (old, new)}) of every update; files are named in the folder."""
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    old, new = (plan.chirps(options.seed + i, shift) for i, shift in ((0, 0.0), (1, 0.5)))
    old, new = ((images[..., None], labels) for images, labels in (old, new))
    base = fit(fresh(options.seed), old, 1e-3, plan.BASE_STEPS)

    def say(kind, model):
        print(f'{NETWORK}, {kind}: accuracy {accuracy(model, old):.3f} on the old task, '
              f'{accuracy(model, new):.3f} on the new one', flush=True)
    say('base', base)
    olds = {form: save(options.output, 'base', base, form, old) for form in FORMS}

    def pairs(kind, forms, model, data, **how):
        return NETWORK, kind, {form: (olds[form], save(options.output, plan.slug(kind), model, form,
                                                       data, **how)) for form in forms}
    for kind, make in updates(base, old, new, options.seed):
        if not options.only or plan.slug(kind) in options.only:
            model = make(copy_of(base))
            say(kind, model)
            yield pairs(kind, FORMS, model, old)
    if not options.only or 'requantised' in options.only:
        yield pairs('requantised', FORMS[:1], base, new)
    if not options.only or 're-exported' in options.only:
        yield pairs('re-exported', FORMS, base, old, saved_model=True)
