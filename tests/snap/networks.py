# networks.py: two small networks that are really trained, and the updates that people make to them.
#
# `Chirps`: depthwise-separable convolutions with batch norm that tell ten chirps in noise apart.
# `Language`: a transformer of two layers that predicts the next letter of made-up languages. All
# data is made here; with one version of PyTorch, one thread and one seed the weights are the same.
# An update is a function from a copy of the old model to the new one. Each network measures a model
# on held-out data of the old task and of the update's; more is better.
# SPDX-License-Identifier: Apache-2.0
import torch
from torch import nn
from torch.nn.utils import parametrize

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def fit(model, batch, loss, rate, steps, parameters=None, kind='Adam'):
    """Trains in place: `batch(step)` gives what `loss(model, batch)` takes."""
    optimizer = getattr(torch.optim, kind)(parameters or model.parameters(), lr=rate)
    model.train()
    for step in range(steps):
        value = loss(model, batch(step))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return model.eval()


class LowRank(nn.Module):
    """A parametrization: the weight plus the product of two factors."""

    def __init__(self, weight, rank):
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.down = nn.Parameter(torch.randn(rank, columns) * 0.05)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight):
        return weight + (self.up @ self.down).view_as(weight)


def merged_lora(model, layers, train, rank=4):
    """Trains low-rank factors of some layers only, then adds their products to the weights."""
    factors = []
    for layer in layers:
        factor = LowRank(layer.weight, rank)
        parametrize.register_parametrization(layer, 'weight', factor)
        factors += list(factor.parameters())
    train(factors)
    for layer in layers:
        parametrize.remove_parametrizations(layer, 'weight')
    return model.eval()


class Chirps:
    name = 'conv net'
    metric = 'accuracy'

    def __init__(self, seed):
        self.seed = seed
        self.sets = {}

    def data(self, part, shift=0.0, classes=range(10), count=1024):
        """Spectrogram-like images of chirps; `shift` moves pitch and noise, the domain."""
        key = (part, shift, tuple(classes), count)
        if key in self.sets:
            return self.sets[key]
        # hash() of text is not the same in every run.
        seed = self.seed * 1000 + {'train': 1, 'more': 2, 'test': 3}[part] + int(shift * 100)
        generator = torch.Generator().manual_seed(seed)
        labels = torch.tensor(classes)[torch.randint(len(classes), (count,), generator=generator)]
        time = torch.arange(20.0)
        start = torch.rand(count, 1, generator=generator) * 6
        pitch = 3 + labels[:, None] * 1.5 + torch.sin(
            time[None] * (0.2 + 0.05 * labels[:, None])) * 2.5
        rows = (pitch + start * 0.3 + shift * 4)[:, None, :]
        image = torch.exp(-(torch.arange(20.0)[None, :, None] - rows) ** 2 / 3)
        noise = torch.randn(count, 20, 20, generator=generator) * (0.55 + 0.2 * shift)
        self.sets[key] = ((image + noise)[:, None], labels)
        return self.sets[key]

    @staticmethod
    def fresh():
        def block(width):
            return [nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                    nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1, bias=False),
                    nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(
            nn.Conv2d(1, 64, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            *block(64), *block(64), *block(64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, 10))

    def train(self, model, data, rate, steps, parameters=None, kind='Adam'):
        def batch(step):
            chosen = torch.arange(step * 32, step * 32 + 32) % len(data[1])
            return data[0][chosen], data[1][chosen]
        return fit(model, batch, lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]), rate,
                   steps, parameters, kind)

    def base(self, classes=range(10)):
        torch.manual_seed(self.seed)
        return self.train(self.fresh(), self.data('train', classes=classes), 2e-3, 120)

    def measure(self, model, task):
        images, labels = self.data('test', **task)
        with torch.no_grad():
            return (model(images).argmax(1) == labels).float().mean().item()

    def updates(self):
        """(name, old model's classes, task of the update, function that makes it)."""
        moved, few = {'shift': 0.5}, {'classes': range(8)}
        pointwise = [6, 12, 18]
        yield ('fine-tune', {}, {}, lambda m: self.train(m, self.data('more'), 3e-4, 60))
        yield ('domain shift', {}, moved,
               lambda m: self.train(m, self.data('more', **moved), 1e-3, 80))
        yield ('added classes', few, {}, lambda m: self.train(m, self.data('more'), 1e-3, 80))
        yield ('merged LoRA', {}, moved, lambda m: merged_lora(
            m, [m[i] for i in pointwise],
            lambda factors: self.train(m, self.data('more', **moved), 3e-3, 60, factors)))


class Language:
    name = 'transformer'
    metric = 'accuracy'
    letters = 24
    width = 96
    length = 48

    def __init__(self, seed):
        self.seed = seed
        self.sets = {}

    def data(self, part, tongue=0, letters=24, count=512):
        """Text of a random grammar: a letter depends on the one before and on its place."""
        key = (part, tongue, letters, count)
        if key in self.sets:
            return self.sets[key]
        rules = torch.Generator().manual_seed(self.seed * 100 + tongue)
        table = torch.randn(3, self.letters, self.letters, generator=rules) * 2.5
        table[:, :, letters:] = -1e9
        chances = torch.softmax(table, -1)
        words = torch.Generator().manual_seed(
            self.seed * 1000 + tongue * 10 + {'train': 1, 'more': 2, 'test': 3}[part])
        text = torch.randint(letters, (count, self.length + 1), generator=words)
        for i in range(1, self.length + 1):
            text[:, i] = torch.multinomial(chances[i % 3, text[:, i - 1]], 1,
                                           generator=words)[:, 0]
        self.sets[key] = text
        return text

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query, self.key, self.value, self.out = (
                nn.Linear(width, width, bias=False) for _ in range(4))
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            y = self.norm_1(x)
            heads = [layer(y).unflatten(-1, (4, -1)).transpose(1, 2)
                     for layer in (self.query, self.key, self.value)]
            y = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
            x = x + self.out(y.transpose(1, 2).flatten(2))
            return x + self.down(nn.functional.gelu(self.up(self.norm_2(x))))

    class Network(nn.Module):
        def __init__(self, letters, width, length):
            super().__init__()
            self.embedding = nn.Embedding(letters, width)
            self.places = nn.Parameter(torch.randn(length, width) * 0.02)
            self.blocks = nn.ModuleList(Language.Block(width) for _ in range(2))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, letters, bias=False)

        def forward(self, text):
            x = self.embedding(text) + self.places[:text.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    def fresh(self):
        return self.Network(self.letters, self.width, self.length)

    def train(self, model, text, rate, steps, parameters=None, kind='Adam'):
        def batch(step):
            return text[torch.arange(step * 16, step * 16 + 16) % len(text)]

        def loss(network, rows):
            return nn.functional.cross_entropy(network(rows[:, :-1]).flatten(0, 1),
                                               rows[:, 1:].flatten())
        return fit(model, batch, loss, rate, steps, parameters, kind)

    def base(self, **task):
        torch.manual_seed(self.seed)
        return self.train(self.fresh(), self.data('train', count=2048, **task), 2e-3, 220)

    def measure(self, model, task):
        text = self.data('test', **task)
        with torch.no_grad():
            return (model(text[:, :-1]).argmax(-1) == text[:, 1:]).float().mean().item()

    def loss(self, model, task):
        text = self.data('test', **task)
        with torch.no_grad():
            return nn.functional.cross_entropy(model(text[:, :-1]).flatten(0, 1),
                                               text[:, 1:].flatten()).item()

    def updates(self):
        more = {'count': 2048}
        other, few = {'tongue': 1}, {'letters': 20}
        yield ('fine-tune', {}, {}, lambda m: self.train(m, self.data('more', **more), 3e-4, 60))
        yield ('new domain', {}, other,
               lambda m: self.train(m, self.data('more', **other, **more), 1e-3, 100))
        yield ('added letters', few, {},
               lambda m: self.train(m, self.data('more', **more), 1e-3, 100))
        yield ('merged LoRA', {}, other, lambda m: merged_lora(
            m, [layer for block in m.blocks for layer in (block.query, block.value, block.up)],
            lambda factors: self.train(m, self.data('more', **other, **more), 5e-3, 100, factors)))
