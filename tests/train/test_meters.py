import pytest
import torch

from iaat.train.meters import MeanMeters


def test_means_are_over_samples_whatever_the_sizes_of_the_batches():
    averages, draws = MeanMeters(), torch.rand(23, generator=torch.Generator().manual_seed(0))
    for part in draws.split([10, 10, 3]):
        averages.add("loss", part)
        averages.add("accuracy", part > 0.5)
    assert averages.means() == {
        "loss": pytest.approx(float(draws.double().mean()), rel=1e-12),
        "accuracy": pytest.approx(int((draws > 0.5).sum()) / 23),
    }


def test_a_batch_loss_counts_once_a_sample():
    averages = MeanMeters()
    averages.add("loss", torch.tensor(1.0).expand(3))
    averages.add("loss", torch.tensor(5.0).expand(1))
    assert averages.means() == {"loss": 2.0}


def test_names_may_come_late():
    averages = MeanMeters()
    assert averages.means() == {}
    averages.add("loss", torch.ones(4))
    averages.add("probed", torch.tensor([0.0, 1.0]))
    assert averages.means() == {"loss": 1.0, "probed": 0.5}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_sums_do_not_saturate_in_the_precision_of_the_values(dtype):
    averages = MeanMeters()
    for _ in range(3):
        averages.add("ones", torch.ones(70_000, dtype=dtype))
    averages.add("ones", torch.tensor([2**24], dtype=torch.float32))
    averages.add("ones", torch.ones(1, dtype=dtype))
    assert averages.means()["ones"] == (3 * 70_000 + 2**24 + 1) / (3 * 70_000 + 2)


def test_no_graph_is_kept():
    averages, leaf = MeanMeters(), torch.ones(3, requires_grad=True)
    averages.add("loss", leaf * 2)
    assert not averages._sums["loss"].requires_grad


def test_not_a_number_is_not_hidden():
    averages = MeanMeters()
    averages.add("loss", torch.tensor([1.0, torch.nan]))
    averages.add("loss", torch.tensor([1.0]))
    assert averages.means()["loss"] != averages.means()["loss"]
