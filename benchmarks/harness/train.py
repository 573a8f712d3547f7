# harness/train.py: `bench train`: a small model really trained, and the updates that people make.
#
# A keyword-spotting-like network (depthwise-separable convolutions with batch norm) learns to tell
# chirps in noise apart; the task is made here, so nothing is downloaded. Each update starts from
# the same trained weights, except `scratch`. Weights are written as safetensors in fp32, fp16 and
# bf16, with a table of pairs for `bench run`. Needs PyTorch and safetensors (zipnn brings both).
# SPDX-License-Identifier: Apache-2.0
import copy


def dataset(torch, seed, shift=0.0, count=1024):
    """Spectrogram-like 32x32 images of one of ten chirps in noise; `shift` moves the domain."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    time = torch.arange(32.0)
    start = torch.rand(count, 1, generator=generator) * 8
    pitch = 4 + labels[:, None] * 2.4 + torch.sin(time[None] * (0.2 + 0.05 * labels[:, None])) * 3
    rows = (pitch + start * 0.3 + shift * 4)[:, None, :]
    image = torch.exp(-(torch.arange(32.0)[None, :, None] - rows) ** 2 / 3)
    noise = torch.randn(count, 32, 32, generator=generator) * (0.3 + 0.2 * shift)
    return (image + noise)[:, None], labels


def network(torch, seed):
    torch.manual_seed(seed)
    nn = torch.nn

    def block(width):
        return [nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(nn.Conv2d(1, 64, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(64),
                         nn.ReLU(), *block(64), *block(64), *block(64), *block(64),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def fit(torch, model, data, rate, steps, parameters=None, kind='Adam'):
    images, labels = data
    optimizer = getattr(torch.optim, kind)(parameters or model.parameters(), lr=rate)
    model.train()
    for step in range(steps):
        chosen = torch.arange(step * 32, step * 32 + 32) % len(labels)
        loss = torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def accuracy(torch, model, data):
    model.eval()
    with torch.no_grad():
        return (model(data[0]).argmax(1) == data[1]).float().mean().item()


def low_rank(torch, down, up):
    """A parametrization: the weight plus the product of the factors."""
    class Sum(torch.nn.Module):
        def forward(self, weight):
            return weight + (up @ down)[:, :, None, None]
    return Sum()


def merged_lora(torch, model, data, rank=4):
    """Trains low-rank factors of the 1x1 convolutions only, and adds their products."""
    layers = [layer for layer in model if isinstance(layer, torch.nn.Conv2d) and
              layer.kernel_size == (1, 1)]
    factors = []
    for layer in layers:
        down = torch.nn.Parameter(torch.randn(rank, 64) * 0.05)
        up = torch.nn.Parameter(torch.zeros(64, rank))
        factors += [down, up]
        torch.nn.utils.parametrize.register_parametrization(layer, 'weight',
                                                            low_rank(torch, down, up))
    fit(torch, model, data, 1e-3, 30, factors)
    for layer in layers:
        torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight')
    return model


def pruned(torch, model, share=0.5):
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.dim() > 1:
                limit = tensor.abs().flatten().kthvalue(max(1, int(share * tensor.numel())))[0]
                tensor[tensor.abs() <= limit] = 0
    return model


def last_layer(torch, model, data):
    for layer in model:
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.0  # its statistics stay as well
    return fit(torch, model, data, 1e-3, 30, model[-1].parameters())


def batch_norm(torch, model, data):
    model.train()
    with torch.no_grad():
        for begin in range(0, 1024, 64):
            model(data[0][begin:begin + 64])
    return model


def updates(torch, base, data, moved, seed):
    """(kind, group, function that makes it from a copy of the base)."""
    yield 'last layer', 'lineage', lambda model: last_layer(torch, model, moved)
    for rate in (1e-3, 1e-4, 1e-5):
        yield (f'fine-tuned, Adam {rate:g}', 'lineage',
               lambda model, rate=rate: fit(torch, model, moved, rate, 30))
    yield 'fine-tuned, SGD 0.01', 'lineage', lambda model: fit(torch, model, moved, 0.01, 30,
                                                               kind='SGD')
    yield 'merged LoRA', 'lineage', lambda model: merged_lora(torch, model, moved)
    yield 'pruned', 'lineage', lambda model: pruned(torch, model)
    yield 'batch norm re-estimated', 'lineage', lambda model: batch_norm(torch, model, moved)
    yield 'from scratch', 'scratch', lambda _: fit(torch, network(torch, seed + 99), data, 1e-3,
                                                   200)


def run(options):
    try:
        import torch
        import torch.nn.utils.parametrize
        from safetensors.torch import save_file
    except ImportError as error:
        raise SystemExit(f'bench train: {error}; pip install torch safetensors') from error
    torch.use_deterministic_algorithms(True)
    data, moved = dataset(torch, options.seed), dataset(torch, options.seed + 1, shift=0.5)
    base = fit(torch, network(torch, options.seed), data, 1e-3, 200)
    options.output.mkdir(parents=True, exist_ok=True)
    types = {'f32': torch.float32, 'f16': torch.float16, 'bf16': torch.bfloat16}

    def save(name, model):
        for suffix, kind in types.items():
            tensors = {key: (value.to(kind) if value.is_floating_point() else value).contiguous()
                       for key, value in model.state_dict().items()}
            save_file(tensors, options.output / f'{name}.{suffix}.safetensors')

    save('base', base)
    rows = ['id\tgroup\tfamily\tformat\tkind\told\tnew']
    for kind, group, make in updates(torch, base, data, moved, options.seed):
        name = kind.replace(',', '').replace(' ', '-').lower()
        if options.only and name not in options.only:
            continue
        model = make(copy.deepcopy(base))
        save(name, model)
        print(f'{kind}: accuracy {accuracy(torch, model, data):.3f} on the old task, '
              f'{accuracy(torch, model, moved):.3f} on the new one', flush=True)
        rows += [f'{name}-{suffix}\t{group}\ttrained\t{suffix}.safetensors\t{kind}\t'
                 f'base.{suffix}.safetensors\t{name}.{suffix}.safetensors' for suffix in types]
    (options.output / 'pairs.tsv').write_text('\n'.join(rows) + '\n', encoding='utf-8')
    print(f'{len(rows) - 1} pairs in {options.output}')
    return 0
