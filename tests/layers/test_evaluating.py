"""Evaluation mode for a while: every module, and the cells of layers, are afterwards in the mode that they had."""

from torch import nn

from gateflow import Recurrent
from gateflow.layers.evaluating import evaluating


def test_frozen_parts_stay_frozen_and_cells_follow_their_layer():
    model = nn.Sequential(Recurrent("lstm", 3, 4), nn.Sequential(nn.Dropout(), nn.Dropout()).eval())
    model[1][0].train()
    before = [module.training for module in model.modules()]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        assert not model[0].cells[0].training
    assert [module.training for module in model.modules()] == before
    assert model[0].cells[0].training


def test_a_frozen_part_that_stands_in_two_places_stays_frozen():
    frozen = nn.BatchNorm1d(3).eval()
    model = nn.ModuleDict({"norm": frozen, "branch": nn.Sequential(frozen, nn.Dropout())})
    with evaluating(model):
        pass
    assert not frozen.training
    assert model["branch"].training
