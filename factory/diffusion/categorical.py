"""Categorical diffusion (Hoogeboom et al. 2021) with noise of any distribution, at a cost linear in the classes.

A voxel has one of N classes. From step s to a later step t it keeps its class with probability
alpha = abar_t / abar_s and else takes class k with probability r_k, even (1 / N) unless said:

    q(x_t = k | x_s = j) = alpha [k = j] + (1 - alpha) r_k

Given x_t = j and x_0 = d, Bayes gives for x_s

    q(k) = A_k B_kd / Z_jd,   A_k = alpha [k = j] + a,   B_kd = abar_s [k = d] + b_k,
    a = (1 - alpha) r_j,   b_k = (1 - abar_s) r_k,   Z_jd = abar_t [j = d] + c,   c = (1 - abar_t) r_j

because A and B compose to the t-step kernel. A network predicts p(d) for x_0, and with
w_d = p(d) / Z_jd the sum over d has a closed form, exact and normalised:

    p(k) = sum_d p(d) q(k | j, d) = A_k (abar_s w_k + b_k sum_d w_d)

`draw` does not even form p: it draws d from the network's p(d), then x_s from q(. | j, d), which
is a mixture of three: stay at j, go to d, or take any class as r has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from factory.diffusion.chance import uniform
from factory.diffusion.rows import few, rows

__all__ = ["Categorical"]

Labels = Int64[Tensor, "b *space"]
Scores = Float[Tensor, "b k *space"]
Times = Int64[Tensor, " b"]


class _Numbers(NamedTuple):
    """The numbers of the module's text, to be broadcast over `b k *space`; `b` is by class, `a` and `c` are at x_t."""

    alpha: Tensor
    kept_s: Tensor
    a: Tensor
    b: Tensor
    c: Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Categorical:
    """The process over `classes` classes under a schedule `alpha_bar` of T + 1 values.

    Attributes:
        rest: the distribution that noise tends to, each above 0; None = even.
    """

    classes: int
    alpha_bar: Float[Tensor, " steps_and_one"]
    rest: tuple[float, ...] | None = None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar) - 1

    def noised(self, x0: Labels, t: Times, generators: Sequence[torch.Generator]) -> Labels:
        """Draw x_t given x_0: each voxel keeps its class with probability `alpha_bar[t]`."""
        chance = uniform(generators, x0)
        kept = self._at(t, x0)
        # what is left of the chance above `kept` is itself even, and picks the new class
        other = self._any((chance - kept) / (1 - kept).clamp_min(1e-12))
        return torch.where(chance < kept, x0, other)

    def pure_noise(self, like: Labels, generators: Sequence[torch.Generator]) -> Labels:
        """Draw x_T in the shape of `like`."""
        return self._any(uniform(generators, like))

    def posterior(self, x_t: Labels, p: Scores, t: Times, s: Times) -> Scores:
        """Distribution of x_s given x_t and the distribution p of x_0; 0 <= s < t."""
        n = self._numbers(t, s, x_t, p)
        here = x_t[:, None]
        w = p / n.c
        w.scatter_(1, here, p.gather(1, here) / (n.c + n.alpha * n.kept_s))
        total = w.sum(1, keepdim=True)
        q = w.mul_(n.kept_s).add_(n.b * total)
        at_x_t = q.gather(1, here) * (n.alpha + n.a)
        return q.mul_(n.a).scatter_(1, here, at_x_t)

    def draw(self, x_t: Labels, logits: Scores, jump: tuple[int, int], generators: Sequence[torch.Generator]) -> Labels:
        """Draw x_s given x_t and the network's logits for x_0, for a jump (t, s); at s = 0 this is x_0."""
        t, s = (torch.full(x_t.shape[:1], step, device=x_t.device) for step in jump)
        d = _drawn(logits, uniform(generators, x_t))
        if jump[1] == 0:
            return d
        n = self._numbers(t, s, x_t, logits)
        alpha, kept_s, a, c = (number[:, 0] for number in (n.alpha, n.kept_s, n.a, n.c))
        same = (x_t == d).to(c.dtype)
        stays = alpha * (kept_s * same + self._share(n.b, x_t)[:, 0])
        goes = a * kept_s
        chance = uniform(generators, x_t) * (alpha * kept_s * same + c)
        other = self._any((chance - stays - goes) / (a * (1 - kept_s)))
        return torch.where(chance < stays, x_t, torch.where(chance < stays + goes, d, other))

    def informed(self, logits: Scores, x_t: Labels, t: Times) -> Scores:
        """Logits of x_0 with what x_t says of its own voxel: log q(x_t | x_0), exact and up to a constant.

        A network that is told so has to learn its surroundings alone, not how far each step may be trusted.
        """
        kept = self.alpha_bar.to(t.device).double()[t].view(-1, *[1] * (logits.ndim - 1))
        shares = torch.tensor(self.rest or (1 / self.classes,), device=t.device, dtype=torch.float64)
        share = shares[x_t if self.rest else torch.zeros_like(x_t)][:, None]
        known = torch.log1p(kept / ((1 - kept) * share).clamp_min(1e-12)).to(logits.dtype)
        # along rows, in which networks give them: `scatter_add` would copy others into its order
        return logits.movedim(1, -1).scatter_add(-1, x_t[..., None], known.movedim(1, -1)).movedim(-1, 1)

    def divergence(self, x0: Labels, x_t: Labels, logits: Scores, t: Times) -> Float[Tensor, "b *space"]:
        """KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) of each voxel in nats; at t = 1 it is -log p(x_0).

        Its mean over t = 1..T, times T, is the bound on -log p(x_0), but for the constant at T.
        """
        s = t - 1
        alpha, kept_s, a, b, c = self._numbers(t, s, x_t, logits)
        log_p = logits.log_softmax(1)
        j, d = x_t[:, None], x0[:, None]
        last = -log_p.gather(1, d)
        b = torch.where(b == 0, 1.0, b)  # s = 0, where `last` is taken: keeps what is thrown away finite
        b_j, b_d = self._share(b, x_t), self._share(b, x0)
        same = (j == d).to(log_p.dtype)
        z_d = alpha * kept_s * same + c
        p = log_p.exp()
        p_j, p_d = p.gather(1, j), p.gather(1, d)
        total = (1 - p_j) / c + p_j / (alpha * kept_s + c)
        # log q / p without A_k, which both share; f at k = j and k = d differs from that of all others
        rest = b * (torch.log(b / z_d) - torch.log(p * (kept_s / c) + b * total))
        w_j, w_d = p_j / (alpha * kept_s + c), p_d / z_d
        f_j = torch.log((kept_s * same + b_j) / z_d) - torch.log(kept_s * w_j + b_j * total)
        f_d = torch.log((kept_s + b_d) / z_d) - torch.log(kept_s * w_d + b_d * total)
        others = rest.sum(1, keepdim=True) - rest.gather(1, j) - (1 - same) * rest.gather(1, d)
        at_j = (alpha + a) * (kept_s * same + b_j) * f_j
        at_d = (1 - same) * a * (kept_s + b_d) * f_d
        kl = (at_j + at_d + a * others) / z_d
        final = (s == 0).view(-1, *[1] * (kl.ndim - 1))
        return torch.where(final, last, kl)[:, 0]

    def _any(self, chance: Float[Tensor, "b *space"]) -> Labels:
        """The class that noise takes for a chance of [0, 1); what lies outside is clipped."""
        if self.rest is None:
            return (chance * self.classes).long().clamp(0, self.classes - 1)
        bounds = torch.tensor(self.rest, device=chance.device).cumsum(0)[:-1]
        return torch.bucketize(chance.contiguous(), bounds, right=True)

    def _share(self, by_class: Float[Tensor, "b k *ones"], x: Labels) -> Float[Tensor, "b one *around"]:
        """A number of each class, even or not, at the classes of x."""
        if by_class.shape[1] == 1:
            return by_class
        flat = by_class.flatten(1).gather(1, x.flatten(1))
        return flat.view(x.shape)[:, None]

    def _at(self, t: Times, like: Tensor) -> Float[Tensor, "b *ones"]:
        """`alpha_bar[t]` in single precision, to be broadcast over the voxels of `like`."""
        return self.alpha_bar.to(t.device)[t].float().view(-1, *[1] * (like.ndim - 1))

    def _numbers(self, t: Times, s: Times, x_t: Labels, like: Scores) -> _Numbers:
        """The numbers of the module's text, from double precision."""
        table = self.alpha_bar.to(t.device).double()
        kept_t, kept_s = table[t], table[s]
        alpha = kept_t / kept_s
        precision = torch.float64 if like.dtype == torch.float64 else torch.float32
        shares = self.rest or (1 / self.classes,)
        rest = torch.tensor(shares, device=t.device, dtype=torch.float64)

        def shaped(numbers: Tensor) -> Tensor:
            return numbers.to(precision).reshape(len(numbers), -1, *[1] * (like.ndim - 2))

        at_x_t = self._share(shaped(rest.expand(len(t), -1)), x_t)
        return _Numbers(
            shaped(alpha),
            shaped(kept_s),
            shaped(1 - alpha) * at_x_t,
            shaped((1 - kept_s)[:, None] * rest),
            shaped(1 - kept_t) * at_x_t,
        )


def _drawn(logits: Scores, chance: Float[Tensor, "b *space"]) -> Labels:
    """One class of each voxel, drawn from the softmax of its logits by inversion."""
    drawn = []
    for some, draw in zip(few(rows(logits)), few(chance.flatten()), strict=True):
        cumulated = some.float().softmax(-1).cumsum_(-1)
        # counted in 16 bits: the sum would otherwise widen every one of them to 64
        drawn.append((cumulated < draw[:, None] * cumulated[:, -1:]).sum(-1, dtype=torch.int16))
    return torch.cat(drawn).view(chance.shape).long().clamp_max_(logits.shape[1] - 1)
