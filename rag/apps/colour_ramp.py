"""The colours of a heat map: from paper white over yellow to a strong red, ever darker.

Made in Oklab, so that equal steps of the map look like equal steps, in print without colour too.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

_STEPS = 256
_LIGHTNESS = (1.0, 0.64)
_CHROMA = 0.20
_HUES = (105.0, 22.0)  # degrees: yellow, red
# Ottosson 2020, "A perceptual color space for image processing".
_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_LINEAR_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@cache
def ramp() -> npt.NDArray[np.uint8]:
    """(256, 3) sRGB, from no heat to the most; shared, so not to be written to."""
    heat = np.linspace(0, 1, _STEPS)
    lightness = _LIGHTNESS[0] + (_LIGHTNESS[1] - _LIGHTNESS[0]) * heat
    chroma = _CHROMA * np.sin(0.5 * np.pi * heat)
    hue = np.radians(_HUES[0] + (_HUES[1] - _HUES[0]) * heat)
    oklab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)  # (256, 3)
    linear = np.clip((oklab @ _TO_LMS.T) ** 3 @ _TO_LINEAR_RGB.T, 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    steps: npt.NDArray[np.uint8] = np.round(255 * coded).astype(np.uint8)
    return steps


def coloured(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(..., 3) colours of values from 0 to 1; what lies outside takes the nearest end."""
    steps = np.clip(np.round(heat * (_STEPS - 1)), 0, _STEPS - 1).astype(np.intp)
    return ramp()[steps]
