"""What test_processes.py looks at, done by two processes: ``torchrun ... torchrun_checks.py FOLDER``.

Every process leaves ``rank<N>.pt``: name of the check -> plain values.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from toy_training import SETTINGS, Numbers, Run, Toy  # beside this script

from ebm_tracker.training.processes import Processes, joined_processes

CHECKED = replace(SETTINGS, steps=5, batch_size=8, evaluate_every=2, log_every=1)


class Limit:
    """Above its limit in process 1 only."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def report(self) -> str | None:
        return f"{self.rank} faults"

    def check(self) -> None:
        if self.rank == 1:
            raise OSError("too many faults")


class Checks:
    def __init__(self, folder: Path, processes: Processes) -> None:
        self.folder, self.processes = folder, processes

    def _run(self, name: str, **arguments: Any) -> Run:
        settings = replace(CHECKED, **arguments.pop("settings", {}))
        return Run(self.folder / name, settings, plain=True, processes=self.processes, **arguments)

    def _result(self, run: Run) -> dict[str, Any]:
        """How it ended, and with what."""
        error = ""
        try:
            run.training.run()
        except (KeyboardInterrupt, Exception) as caught:
            error = f"{type(caught).__name__}: {caught}"
        return {
            "error": error,
            "steps": run.training.steps,
            "weights": [parameter.detach().clone() for parameter in run.step.head.parameters()],
            "gradients": run.gradients(),
            "evaluations": len(run.evaluations),
        }

    def doubled(self) -> dict[str, Any]:
        return self._result(self._run("doubled"))

    def one_step(self) -> dict[str, Any]:
        return self._result(self._run("one_step", settings={"steps": 1, "workers": 1}))

    def accumulated(self) -> dict[str, Any]:
        return self._result(self._run("accumulated", settings={"accumulation": 2}))

    def not_finite(self) -> dict[str, Any]:
        def disturb(call: int, batch: Toy, losses: Tensor) -> Tensor:
            return torch.where((batch.number == 21) | (batch.number == 22), torch.nan, losses)

        run = self._run("not_finite")  # sample 21 and 22: step 2, process 1
        run.step.disturb = disturb
        return self._result(run)

    def stopped(self) -> dict[str, Any]:
        def disturb(call: int, batch: Toy, losses: Tensor) -> Tensor:
            if call == 3 and self.processes.rank == 1:
                signal.raise_signal(signal.SIGTERM)
            return losses

        run = self._run("stopped")
        run.step.disturb = disturb
        return self._result(run)

    def resumed(self) -> dict[str, Any]:
        return self._result(self._run("stopped", resume=True))

    def refused(self) -> dict[str, Any]:
        try:
            self._run("stopped", resume=True, settings={"learning_rate": 0.5})
        except ValueError as error:
            return {"error": str(error)}
        return {"error": ""}

    def evaluation_fails(self) -> dict[str, Any]:
        def evaluate() -> dict[str, float]:
            raise OSError("no such pairs")

        return self._result(self._run("evaluation_fails", evaluate=evaluate))

    def faults(self) -> dict[str, Any]:
        dataset = Numbers(torch.float64)
        dataset.faults = Limit(self.processes.rank)  # type: ignore[attr-defined]
        return self._result(self._run("faults", dataset=dataset))

    def agreement(self) -> dict[str, Any]:
        """What the methods of Processes say themselves."""
        processes, rank = self.processes, self.processes.rank
        total = processes.sum([1.0, rank, float("nan") if rank else 0.0], torch.device("cpu"))
        first = processes.from_first(lambda: f"made by {rank}")
        return {"sum": total, "gather": processes.gather((rank, "x")), "first": first, "is_first": processes.is_first}


def main() -> None:
    folder = Path(sys.argv[1])
    names = [name for name, value in vars(Checks).items() if isinstance(value, Callable) and name[0] != "_"]  # type: ignore[arg-type]
    with joined_processes(torch.device("cpu")) as processes:
        checks = Checks(folder, processes)
        results = {name: getattr(checks, name)() for name in names}
        torch.save(results, folder / f"rank{processes.rank}.pt")


if __name__ == "__main__":
    main()
