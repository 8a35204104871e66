from __future__ import annotations

import pytest
import torch
from torch import nn

from ebm_tracker.training.average import MovingAverage

DECAY = 0.9


def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_average_has_its_closed_form() -> None:
    """a_n = d^n w_0 + (1 - d) sum_k d^(n - k) w_k, for parameters and running means alike."""
    trained = module()
    average = MovingAverage(trained, DECAY)
    history = [{name: value.clone() for name, value in trained.state_dict().items()}]
    for k in range(1, 6):
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter += torch.randn_like(parameter)
        trained(torch.randn(4, 3) + k)  # moves the running means
        average.update(trained)
        history.append({name: value.clone() for name, value in trained.state_dict().items()})
    for name, value in average.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert int(value) == 5
            continue
        expected = DECAY**5 * history[0][name].double()
        for k in range(1, 6):
            expected += (1 - DECAY) * DECAY ** (5 - k) * history[k][name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(history[0]["1.running_mean"], history[5]["1.running_mean"])


def test_weights_are_swapped_in_and_out() -> None:
    trained = module()
    average = MovingAverage(trained, DECAY)
    start = {name: value.clone() for name, value in trained.state_dict().items()}
    with torch.no_grad():
        trained[0].weight += 1
    own = trained[0].weight.detach().clone()
    with average.swapped_in(trained):
        assert torch.equal(trained[0].weight, start["0.weight"])
    assert torch.equal(trained[0].weight, own)
    with pytest.raises(OSError), average.swapped_in(trained):
        raise OSError
    assert torch.equal(trained[0].weight, own)


def test_saved_average_comes_back_and_that_of_another_module_does_not() -> None:
    trained = module()
    average = MovingAverage(trained, DECAY)
    with torch.no_grad():
        trained[0].weight += 1
    average.update(trained)
    other = MovingAverage(module(), DECAY)
    other.load_state_dict(average.state_dict())
    assert all(torch.equal(other.state_dict()[name], value) for name, value in average.state_dict().items())
    with pytest.raises(ValueError, match="other entries: .*1.running_mean"):
        MovingAverage(nn.Sequential(nn.Linear(3, 2)), DECAY).load_state_dict(average.state_dict())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_has_its_range(decay: float) -> None:
    with pytest.raises(ValueError, match=r"average_decay must be in \[0, 1\)"):
        MovingAverage(module(), decay)
