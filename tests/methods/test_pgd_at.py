"""PGD-AT at the radii of a table."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from iaat.errors import UserError
from iaat.methods import NFGSM, PGDAT
from iaat.methods.base import StepContext
from iaat.methods.registry import make_method
from iaat.runtime.rng import batch_generator
from iaat.types import Batch
from iaat.units import Radius
from methods.settings import context, digits, network

SIZE = 12


@pytest.fixture
def table(tmp_path):
    """Radii of all samples but the last, in px."""
    radius = np.arange(SIZE - 1, dtype=np.float32)
    columns = {"index": np.arange(SIZE - 1), "label_id": digits(SIZE).y[:-1].numpy(), "radius": radius / 255}
    pa.parquet.write_table(pa.table(columns), tmp_path / "radii.parquet")
    return str(tmp_path)


def build(method, table, **options):
    config = method.Config(radius=Radius("20px"), steps=1, radii=table, **options)
    return method(config, size=SIZE, device="cpu")


def trained_at(method, batch):
    return method.step(network().train(), batch, context()).radius * 255


@pytest.mark.parametrize("method", [PGDAT, NFGSM])
def test_samples_are_trained_at_their_radii_in_the_table(method, table):
    batch = digits(SIZE)
    torch.testing.assert_close(trained_at(build(method, table), batch), torch.tensor([*range(SIZE - 1), 20.0]))


def test_shuffled_radii_are_the_same_ones_for_other_samples(table):
    radius = trained_at(build(PGDAT, table, shuffle_radii=True), digits(SIZE))
    assert radius[:-1].tolist() != list(range(SIZE - 1))
    torch.testing.assert_close(radius[:-1].sort().values, torch.arange(SIZE - 1.0))
    assert radius[-1].item() == pytest.approx(20)


def test_every_seed_has_another_order_of_shuffled_radii(table):
    def radii(seed):
        method, generator = build(PGDAT, table, shuffle_radii=True), batch_generator(seed, "attack")
        torch.rand(3, generator=generator)  # whatever was drawn before
        return method.step(network().train(), digits(SIZE), StepContext(epoch=0, generator=generator)).radius

    assert torch.equal(radii(1), radii(1))
    assert not torch.equal(radii(1), radii(2))


def test_a_resumed_run_keeps_its_radii_though_the_file_has_changed(table, tmp_path):
    method, batch = build(PGDAT, table), digits(SIZE)
    before = trained_at(method, batch)
    columns = {"index": [0], "label_id": [int(batch.y[0])], "radius": [0.5]}
    pa.parquet.write_table(pa.table(columns), tmp_path / "radii.parquet")
    resumed = build(PGDAT, table)
    resumed.load_state_dict(method.state_dict())
    assert torch.equal(trained_at(resumed, batch), before)


def test_a_resumed_run_needs_no_file(table, tmp_path):
    method, batch = build(PGDAT, table), digits(SIZE)
    before = trained_at(method, batch)
    (tmp_path / "radii.parquet").unlink()
    resumed = make_method("pgd_at", method.config, size=SIZE, device="cpu", begins=False)
    resumed.load_state_dict(method.state_dict())
    assert torch.equal(trained_at(resumed, batch), before)


@pytest.mark.parametrize("shuffle_radii", [False, True])
def test_after_natural_training_a_run_has_the_radii_that_it_began_with(shuffle_radii, table, tmp_path):
    """The file is replaced while the model trains naturally, and gone when the run goes on from a checkpoint."""
    config = PGDAT.Config(radius=Radius("20px"), steps=1, radii=table, shuffle_radii=shuffle_radii)
    batch, settings = digits(SIZE), {"size": SIZE, "device": "cpu", "natural_epochs": 1}

    def trained(method, epoch):
        generator = batch_generator(3, "attack")
        return method.step(network().train(), batch, StepContext(epoch=epoch, generator=generator)).radius

    expected = trained(build(PGDAT, table, shuffle_radii=shuffle_radii), 0)
    method = make_method("pgd_at", config, **settings)
    assert trained(method, 0) is None
    columns = {"index": [0], "label_id": [int(batch.y[0])], "radius": [0.5]}
    pa.parquet.write_table(pa.table(columns), tmp_path / "radii.parquet")
    state = method.state_dict()
    assert torch.equal(trained(method, 1), expected)
    (tmp_path / "radii.parquet").unlink()
    resumed = make_method("pgd_at", config, **settings, begins=False)
    resumed.load_state_dict(state)
    assert torch.equal(trained(resumed, 1), expected)


def test_a_checkpoint_of_natural_training_by_an_older_version_reads_the_file(table):
    config = PGDAT.Config(radius=Radius("20px"), steps=1, radii=table)
    settings = {"size": SIZE, "device": "cpu", "natural_epochs": 1}
    state = make_method("pgd_at", config, **settings).state_dict()
    state.pop("table", None)
    resumed = make_method("pgd_at", config, **settings, begins=False)
    resumed.load_state_dict(state)
    radius = resumed.step(network().train(), digits(SIZE), context(1)).radius * 255
    torch.testing.assert_close(radius, torch.tensor([*range(SIZE - 1), 20.0]))


def test_natural_training_shows_its_first_batch_to_the_check_of_the_method(table):
    config, batch = PGDAT.Config(radius=Radius("20px"), steps=1, radii=table), digits(SIZE)
    batch.y[3:] = (batch.y[3:] + 1) % 10
    method = make_method("pgd_at", config, size=SIZE, device="cpu", natural_epochs=1)
    with pytest.raises(UserError, match="sample 3 "):
        method.step(network().train(), batch, context())


def test_the_largest_radius_of_a_file_is_not_that_of_the_settings(table):
    assert build(PGDAT, table).config.largest_radius(9) == float("inf")


def test_radii_of_other_data_and_shuffling_nothing_are_refused(table):
    batch = digits(SIZE)
    batch.y[3:] = (batch.y[3:] + 1) % 10
    with pytest.raises(UserError, match="sample 3 "):
        trained_at(build(PGDAT, table), batch)
    build(PGDAT, table).prepare(network().train(), batch, context())  # of a run, which has compared all its samples
    few = Batch(batch.x[2:4], batch.y[2:4], batch.index[2:4])
    assert len(trained_at(build(PGDAT, table), few)) == 2
    with pytest.raises(UserError, match=r"method\.shuffle_radii = true: there is nothing to shuffle"):
        build(PGDAT, None, shuffle_radii=True)
