"""Peak memory of whole nets beside PyTorch, in fresh processes: ``python -m benchmarks.memory``.

What is told is the largest resident size of the process, interpreter and libraries included, after
three training steps (or three inferences) on random data.
"""

import argparse
import importlib.util
import subprocess
import sys

CASES = {  # batch of training, shape, classes
    "lenet5": (128, (1, 28, 28), 10),
    "resnet20": (128, (3, 32, 32), 10),
    "resnet18": (8, (3, 224, 224), 1000),
    "vgg16": (4, (3, 224, 224), 1000),
}

FASTCNN = """
import sys, numpy as np, fastcnn
from fastcnn import models, nn, optim, plan
name, wrt, batch, shape, classes = {args!r}
fastcnn.set_num_threads({threads})
model = getattr(models, name)()
x = np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)
y = np.zeros(batch, np.int64)
if wrt == "training":
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    program = plan.compile(model, shape, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    for _ in range(3):
        program.step(x, y)
else:
    program = plan.compile(model, shape)
    for _ in range(3):
        program(x)
"""

TORCH = """
import torch
from benchmarks import torch_nets
name, wrt, batch, shape, classes = {args!r}
torch.set_num_threads({threads})
model = getattr(torch_nets, name)()
x, y = torch.randn(batch, *shape), torch.zeros(batch, dtype=torch.long)
if wrt == "training":
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()
    for _ in range(3):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
else:
    model.eval()
    with torch.inference_mode():
        for _ in range(3):
            model(x)
"""

PEAK = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)\n"


def peak(program: str, args: tuple[object, ...], threads: int) -> int:
    """MiB of a process that runs the program."""
    text = program.format(args=args, threads=threads) + PEAK
    result = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True
    )
    return int(result.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nets", nargs="*", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    torch = importlib.util.find_spec("torch") is not None
    print("| net | | batch | fastcnn, MiB | PyTorch, MiB | PyTorch / fastcnn |")
    print("|---|---|--:|--:|--:|--:|")
    for name in options.nets:
        train, shape, classes = CASES[name]
        for wrt, batch in (("training", train), ("inference", 1), ("inference", 32)):
            args = (name, wrt, batch, shape, classes)
            ours = peak(FASTCNN, args, options.threads)
            theirs = peak(TORCH, args, options.threads) if torch else 0
            cells = f"{theirs} | {theirs / ours:.2f}" if torch else " | "
            print(f"| {name} | {wrt} | {batch} | {ours} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
