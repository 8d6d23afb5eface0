"""Sets of blocks have no order, patches at places do."""

import torch

from noli.zoo.tokens import token_encoder


def test_the_order_of_a_set_does_not_matter_and_that_of_places_does() -> None:
    tokens = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    turned = tokens.flip(1)
    with torch.no_grad():
        unordered, placed = token_encoder(5, 4), token_encoder(5, 4, places=7)
        torch.testing.assert_close(unordered(tokens), unordered(turned))
        assert not torch.allclose(placed(tokens), placed(turned), atol=1e-4)
        assert unordered(tokens[:, :2]).shape == (3, 4)
        assert torch.equal(token_encoder(5, 4, seed=1)(tokens), token_encoder(5, 4, seed=1)(tokens))


def test_features_are_scaled_by_what_is_shown() -> None:
    tokens = 100 + 50 * torch.randn(40, 7, 5, generator=torch.Generator().manual_seed(0))
    plain, scaled = token_encoder(5, 4), token_encoder(5, 4).scaled(tokens)
    with torch.no_grad():
        torch.testing.assert_close(scaled(tokens), plain((tokens - scaled.centre) / scaled.spread))
        flat = token_encoder(5, 4).scaled(torch.ones(4, 7, 5))
        assert torch.isfinite(flat(tokens)).all()
