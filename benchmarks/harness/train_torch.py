# harness/train_torch.py: the networks of `bench train` in PyTorch, and the files made of them.
#
# `keywords`: depthwise-separable convolutions with batch norm, as safetensors (fp32, fp16, bf16)
# and ONNX (fp32 by PyTorch's exporter, int8 by ONNX Runtime's quantiser, calibrated with data).
# `language`: a transformer of two layers, as GGUF (F16, Q8_0, Q4_0) by the gguf package, and as
# safetensors (bf16).
# SPDX-License-Identifier: Apache-2.0
import copy
import warnings

import gguf
import onnxruntime.quantization as quantization
import torch
import torch.nn.utils.parametrize as parametrize
from safetensors.torch import save_file

from harness import train as plan

nn = torch.nn


# --- networks -------------------------------------------------------------------------------------

class Keywords:
    """Ten chirps in noise told apart; about 21,000 weights."""
    name = 'keywords'

    def __init__(self, options):
        self.folder = options.output
        self.old = self.tensors(plan.chirps(options.seed))
        self.new = self.tensors(plan.chirps(options.seed + 1, shift=0.5))

    @staticmethod
    def tensors(data):
        return torch.from_numpy(data[0])[:, None], torch.from_numpy(data[1])

    @staticmethod
    def fresh(seed):
        torch.manual_seed(seed)

        def block(width):
            return [nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                    nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1, bias=False),
                    nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(
            nn.Conv2d(1, 64, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            *block(64), *block(64), *block(64), *block(64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, 10))

    @staticmethod
    def loss(model, data, rows):
        return nn.functional.cross_entropy(model(data[0][rows]), data[1][rows])

    @staticmethod
    def accuracy(model, data):
        return (model(data[0]).argmax(1) == data[1]).float().mean().item()

    @staticmethod
    def head(model):
        return model[-1]

    def save(self, name, model):
        files = {f'{kind}.safetensors': save_tensors(self.folder, name, model, kind)
                 for kind in TYPES}
        path = f'{self.name}-{name}.onnx'
        export_onnx(model, self.old[0][:1], self.folder / path)
        files['onnx'] = path
        files['int8.onnx'] = self.quantize(path, name, self.old)
        return files

    def quantize(self, path, name, data):
        """Ranges of activations come from data: another set is another int8 model."""
        images = [{'image': image[None].numpy()} for image in data[0][:128]]

        class Reader(quantization.CalibrationDataReader):
            rows = iter(images)

            def get_next(self):
                return next(self.rows, None)
        result = f'{self.name}-{name}.int8.onnx'
        quantization.quantize_static(self.folder / path, self.folder / result, Reader(),
                                     per_channel=True)
        return result

    def more(self, base):
        """What is done to the same weights."""
        yield 'requantised', {'int8.onnx': (f'{self.name}-base.int8.onnx', self.quantize(
            f'{self.name}-base.onnx', 'requantised', self.new))}
        path = f'{self.name}-re-exported.onnx'
        export_onnx(base, self.old[0][:1], self.folder / path, opset=20)
        files = {'onnx': (f'{self.name}-base.onnx', path)}
        path = f'{self.name}-re-exported.f32.safetensors'
        tensors = {f'model.{name}': value for name, value in base.state_dict().items()}
        save_file(tensors, self.folder / path, {'format': 'pt', 'exporter': 'bench'})
        yield 're-exported', files | {'f32.safetensors': (f'{self.name}-base.f32.safetensors',
                                                          path)}


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.RMSNorm(width), nn.RMSNorm(width)])
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up = nn.Linear(width, 2 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x):
        batch, length, width = x.shape
        y = self.norms[0](x)
        q, k, v = (part(y).view(batch, length, self.heads, -1).transpose(1, 2)
                   for part in (self.q, self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))


class Transformer(nn.Module):
    def __init__(self, width=128, layers=2, symbols=64, length=64):
        super().__init__()
        self.tokens, self.places = nn.Embedding(symbols, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList([Layer(width, 4) for _ in range(layers)])
        self.norm, self.output = nn.RMSNorm(width), nn.Linear(width, symbols, bias=False)

    def forward(self, texts):
        x = self.tokens(texts) + self.places.weight[:texts.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


class Language:
    """The next symbol of texts; about 290,000 weights."""
    name = 'language'
    QUANTS = {f'{kind.name.lower()}.gguf': kind for kind in (
        gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.Q8_0,
        gguf.GGMLQuantizationType.Q4_0)}
    NAMES = {'q': 'attn_q', 'k': 'attn_k', 'v': 'attn_v', 'out': 'attn_output', 'up': 'ffn_up',
             'down': 'ffn_down', 'norms.0': 'attn_norm', 'norms.1': 'ffn_norm'}

    def __init__(self, options):
        self.folder = options.output
        self.old = torch.from_numpy(plan.sentences(options.seed))
        self.new = torch.from_numpy(plan.sentences(options.seed + 1, shift=0.3))

    @staticmethod
    def fresh(seed):
        torch.manual_seed(seed)
        return Transformer()

    @staticmethod
    def loss(model, data, rows):
        texts = data[rows]
        return nn.functional.cross_entropy(model(texts[:, :-1]).flatten(0, 1),
                                           texts[:, 1:].flatten())

    @staticmethod
    def accuracy(model, data):
        texts = data[:128]
        return (model(texts[:, :-1]).argmax(2) == texts[:, 1:]).float().mean().item()

    @staticmethod
    def head(model):
        return model.output

    def gguf_names(self, model):
        names = {'tokens': 'token_embd', 'places': 'position_embd', 'norm': 'output_norm',
                 'output': 'output'}
        for name, value in model.state_dict().items():
            name = name.removesuffix('.weight')
            if name.startswith('layers.'):
                _, layer, part = name.split('.', 2)
                yield f'blk.{layer}.{self.NAMES[part]}.weight', value.numpy()
            else:
                yield f'{names[name]}.weight', value.numpy()

    def save_gguf(self, name, model, form, title='bench', reverse=False):
        path = f'{self.name}-{name}.{form}'
        writer = gguf.GGUFWriter(self.folder / path, 'gpt2')
        writer.add_name(title)
        writer.add_context_length(64)
        writer.add_embedding_length(128)
        writer.add_block_count(2)
        writer.add_head_count(4)
        writer.add_tokenizer_model('gpt2')
        writer.add_token_list([chr(48 + symbol) for symbol in range(64)])
        tensors = list(self.gguf_names(model))
        for tensor, value in reversed(tensors) if reverse else tensors:
            kind = self.QUANTS[form] if value.ndim > 1 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(tensor, gguf.quants.quantize(value, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def save(self, name, model):
        files = {form: self.save_gguf(name, model, form) for form in self.QUANTS}
        return files | {'bf16.safetensors': save_tensors(self.folder, name, model, 'bf16',
                                                         self.name)}

    def more(self, base):
        yield 'requantised', {'q4_0.gguf': (f'{self.name}-base.q8_0.gguf',
                                            f'{self.name}-base.q4_0.gguf')}
        yield 're-exported', {
            form: (f'{self.name}-base.{form}',
                   self.save_gguf('re-exported', base, form, 'bench, exported again', True))
            for form in self.QUANTS}


# --- files ----------------------------------------------------------------------------------------

TYPES = {'f32': torch.float32, 'f16': torch.float16, 'bf16': torch.bfloat16}


def save_tensors(folder, name, model, kind, network='keywords'):
    path = f'{network}-{name}.{kind}.safetensors'
    save_file({key: (value.to(TYPES[kind]) if value.is_floating_point() else value).contiguous()
               for key, value in model.state_dict().items()}, folder / path)
    return path


def export_onnx(model, example, path, opset=18):
    model.eval()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(model, (example,), path, input_names=['image'], output_names=['label'],
                          opset_version=opset, external_data=False, verbose=False)


# --- updates --------------------------------------------------------------------------------------

def fit(task, model, data, rate, steps, parameters=None, kind='Adam', after=lambda: None):
    optimizer = getattr(torch.optim, kind)(parameters or model.parameters(), lr=rate)
    model.train()
    count = len(data) if torch.is_tensor(data) else len(data[0])
    for step in range(steps):
        rows = torch.arange(step * 32, step * 32 + 32) % count
        optimizer.zero_grad()
        task.loss(model, data, rows).backward()
        optimizer.step()
        after()
    return model


class LowRank(nn.Module):
    """A parametrization: the weight plus the product of two factors."""
    def __init__(self, weight, rank=4):
        super().__init__()
        rows, columns = weight.shape[:2]
        self.down = nn.Parameter(torch.randn(rank, columns) * 0.05)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight):
        return weight + (self.up @ self.down).view(weight.shape)


def merged_lora(task, model, steps):
    """Trains factors of the dense layers and 1x1 convolutions only, then adds their products."""
    layers = [layer for layer in model.modules() if layer is not task.head(model) and
              (isinstance(layer, nn.Linear) or getattr(layer, 'kernel_size', None) == (1, 1))]
    factors = [LowRank(layer.weight) for layer in layers]
    for layer, factor in zip(layers, factors, strict=True):
        parametrize.register_parametrization(layer, 'weight', factor)
    fit(task, model, task.new, 1e-3, steps, [each for factor in factors
                                             for each in factor.parameters()])
    for layer in layers:
        parametrize.remove_parametrizations(layer, 'weight')
    return model


def pruned(task, model, steps, share=0.5):
    """The smallest half of each matrix to zero, where it stays while the rest is trained on."""
    tensors = [tensor for tensor in model.parameters() if tensor.dim() > 1]
    masks = [tensor.detach().abs() > tensor.detach().abs().flatten().kthvalue(
        max(1, int(share * tensor.numel())))[0] for tensor in tensors]

    def keep():
        with torch.no_grad():
            for tensor, mask in zip(tensors, masks, strict=True):
                tensor *= mask
    keep()
    return fit(task, model, task.old, 1e-4, steps, after=keep)


def last_layer(task, model, steps):
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.0  # its statistics stay as well
    return fit(task, model, task.new, 1e-3, steps, list(task.head(model).parameters()))


def batch_norm(task, model):
    model.train()
    with torch.no_grad():
        for begin in range(0, 1024, 64):
            model(task.new[0][begin:begin + 64])
    return model


def variants(task, seed):
    """(kind, function that makes it from a copy of the base)."""
    steps = plan.UPDATE_STEPS
    yield 'last layer', lambda model: last_layer(task, model, steps)
    for rate in plan.RATES:
        yield (f'fine-tuned, Adam {rate:g}',
               lambda model, rate=rate: fit(task, model, task.new, rate, steps))
    yield 'fine-tuned, SGD 0.01', lambda model: fit(task, model, task.new, 0.01, steps, kind='SGD')
    yield 'merged LoRA', lambda model: merged_lora(task, model, steps)
    yield 'pruned', lambda model: pruned(task, model, steps)
    if isinstance(task, Keywords):
        yield 'batch norm re-estimated', lambda model: batch_norm(task, model)
    yield 'from scratch', lambda _: fit(task, task.fresh(seed + 99), task.old, 1e-3,
                                        plan.BASE_STEPS)


def updates_of(task, options):
    base = fit(task, task.fresh(options.seed), task.old, 1e-3, plan.BASE_STEPS)

    def say(kind, model):
        model.eval()
        with torch.no_grad():
            print(f'{task.name}, {kind}: accuracy {task.accuracy(model, task.old):.3f} on the old '
                  f'task, {task.accuracy(model, task.new):.3f} on the new one', flush=True)
    say('base', base)
    olds = task.save('base', base)
    for kind, make in variants(task, options.seed):
        if not options.only or plan.slug(kind) in options.only:
            torch.manual_seed(options.seed + 7)
            model = make(copy.deepcopy(base))
            say(kind, model)
            news = task.save(plan.slug(kind), model)
            yield kind, {form: (olds[form], new) for form, new in news.items()}
    for kind, files in task.more(base):
        if not options.only or plan.slug(kind) in options.only:
            yield kind, files


def train(options):
    """(network, kind, {format: (old, new)}) of every update; files are named in the folder."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for task in (Keywords(options), Language(options)):
        for kind, files in updates_of(task, options):
            yield task.name, kind, files
