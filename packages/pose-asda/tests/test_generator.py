"""The generator compared with published figures, and pasting with its reference and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pose_asda.generator import Generator, placements_to_thetas
from pose_core.models.weights import load_weights
from pose_core.ops.pasting import pack, paste, unpack, warp
from pose_testing.golden import load_golden, relative_error, uniform
from pose_testing.networks import check_written_back, published_state


def oval(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    away = np.hypot((x - (width - 1) / 2) / (0.25 * width), (y - (height - 1) / 2) / (0.25 * height))
    return np.clip(1.5 - away, 0, 1)


def golden_inputs(types: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return images, parts and masks by the rule of the golden files."""
    count, slots = types.shape
    mask = torch.from_numpy(oval(height, width)).expand(count, slots, 1, height, width).clone()
    mask[types < 0] = 0
    parts = torch.from_numpy(uniform("part_images", count * slots * 3 * height * width))
    parts = parts.reshape(count, slots, 3, height, width) * (mask > 0)
    images = torch.from_numpy(uniform("input", count * 3 * height * width)).reshape(count, 3, height, width)
    return images, parts, mask


@pytest.mark.parametrize("name", ["stn_res18_64x48", "stn_res18_64x64"])
@pytest.mark.parametrize("path", ["reference", "fast"])
def test_published_figures(name: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_OPS", path)
    golden = load_golden(f"asda/{name}")
    outputs = {output["name"]: output for output in golden["outputs"]}
    types = torch.tensor(golden["config"]["part_idxes"])
    network = Generator(18).double().eval()
    assert load_weights(network, published_state(golden)).complete
    check_written_back(network, published_state(golden))
    assert sum(p.numel() for p in network.parameters()) == golden["params"]
    images, parts, masks = golden_inputs(types, golden["config"]["H"], golden["config"]["W"])
    packed = pack(parts, masks)
    with torch.no_grad():
        placements = network(images)
        thetas = placements_to_thetas(placements, types)
        pasted = {a: paste(images, *packed, thetas, align_corners=bool(a)) for a in (0, 1)}
        warped = {a: warp(parts, masks, thetas, align_corners=bool(a)) for a in (0, 1)}
    assert relative_error((placements + 0.5).reshape(-1, 75, 1, 1).numpy(), outputs["sigmoid"]) < 1e-9
    assert relative_error(thetas.flatten(0, 1).numpy(), outputs["theta"]) < 1e-9
    for aligned in (0, 1):
        assert relative_error(pasted[aligned].numpy(), outputs[f"align{aligned}.composite"]) < 1e-9
        assert relative_error(warped[aligned][0].flatten(0, 1).numpy(), outputs[f"align{aligned}.warped_parts"]) < 1e-9
        assert relative_error(warped[aligned][1].flatten(0, 1).numpy(), outputs[f"align{aligned}.warped_masks"]) < 1e-9


def test_deep_generator_has_the_published_size_and_moves_nothing_at_first() -> None:
    network = Generator(50)
    assert sum(p.numel() for p in network.parameters()) == 30_074_507
    with torch.no_grad():
        placements = network.eval()(torch.rand(1, 3, 64, 64))
    thetas = placements_to_thetas(placements, torch.tensor([[4]]))
    assert torch.equal(thetas[0, 0], torch.eye(2, 3))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("path", ["reference", "fast"])
def test_gradients_are_those_of_finite_differences(path: str, aligned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSE_OPS", path)
    torch.manual_seed(0)
    types = torch.tensor([[2, 7], [5, -1]])
    images, parts, masks = golden_inputs(types, 12, 9)
    placements = (torch.rand(2, 25, 3, dtype=torch.float64) - 0.5) * 0.6
    placements.requires_grad_()
    images.requires_grad_()
    packed = pack(parts, masks)

    def pasted(x: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return paste(x, *packed, placements_to_thetas(r, types), align_corners=aligned)

    assert torch.autograd.gradcheck(pasted, (images, placements), eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
def test_fast_path_is_the_reference(aligned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare values and gradients, also of parts that cross an edge, are outside, or are missing."""
    torch.manual_seed(1)
    types = torch.randint(-1, 25, (6, 4))
    images, _, masks = golden_inputs(types, 40, 56)
    masks *= torch.rand(6, 4, 1, 1, 1) > 0.1
    parts = torch.randn(6, 4, 3, 40, 56, dtype=torch.float64) * (masks > 0)
    answers = {}
    for path in ("reference", "fast"):
        monkeypatch.setenv("POSE_OPS", path)
        placements = (torch.rand(6, 25, 3, generator=torch.Generator().manual_seed(2)).double() - 0.5).requires_grad_()
        pasted = paste(images, *pack(parts, masks), placements_to_thetas(placements, types), align_corners=aligned)
        pasted.square().sum().backward()
        answers[path] = (pasted.detach(), placements.grad)
    for slow, fast in zip(*answers.values(), strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    assert not torch.equal(answers["fast"][0], images)


def test_nothing_pasted_still_yields_a_gradient() -> None:
    images, parts, masks = golden_inputs(torch.tensor([[-1]]), 8, 8)
    placements = torch.zeros(1, 25, 3, dtype=torch.float64, requires_grad=True)
    thetas = placements_to_thetas(placements, torch.tensor([[-1]]))
    pasted = paste(images, *pack(parts, masks), thetas, align_corners=True)
    assert torch.equal(pasted, images)
    pasted.sum().backward()
    assert placements.grad is not None
    assert not placements.grad.any()


def test_packing_is_undone() -> None:
    torch.manual_seed(3)
    _, parts, masks = golden_inputs(torch.tensor([[2, -1], [5, 7]]), 24, 18)
    masks[0, 0, :, :9] = 0
    parts = torch.randn_like(parts) * (masks > 0)
    texels, boxes = pack(parts, masks)
    assert len(texels) < masks.numel()
    assert boxes[0].tolist()[1] == [0, 0, 0, 0]
    for unpacked, expected in zip(unpack(texels, boxes, (24, 18)), (parts, masks), strict=True):
        assert torch.equal(unpacked, expected)


def test_placements_are_not_rounded_in_half_precision() -> None:
    torch.manual_seed(0)
    network = Generator(18, width=8)
    for parameter in network.fc_locs[2].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        placements = network(torch.randn(8, 3, 64, 64))
    assert placements.dtype == torch.float32
    assert len(placements.unique()) > 500  # of 600; bfloat16 leaves 8
