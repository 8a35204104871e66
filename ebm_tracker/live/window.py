"""The window of ``ebm live``.

It is pygame-ce's: its wheel holds SDL, so that nothing else need be installed, and a picture goes to the screen as the
bytes it is. tkinter depends on how Python was built (Debian has it in a package of its own) and wants every picture as
a PPM or PNG; OpenCV's windows need a wheel that overwrites the headless one.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ebm_tracker.errors import EbmError
from ebm_tracker.live.viewer import LiveViewer


class WindowError(EbmError):
    """There is no window: the extra is missing or there is no display."""


class NoDisplay(WindowError):
    """This machine has no screen that can be used."""


def open_display() -> Any:
    """pygame with its display started. Raises NoDisplay without a screen, WindowError without the extra."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise NoDisplay("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise WindowError(f"the window needs the extra live: pip install 'ebm-tracker[live]' ({error})") from error
    try:
        pygame.display.init()
    except pygame.error as error:
        raise NoDisplay(f"no window can be opened ({error})") from error
    # Where the screen cannot be reached, SDL goes on with a driver that shows nothing.
    driver = pygame.display.get_driver()
    if driver in ("dummy", "offscreen", "evdev") and "SDL_VIDEODRIVER" not in os.environ:
        pygame.display.quit()
        raise NoDisplay(f"the display cannot be opened (DISPLAY={os.environ.get('DISPLAY', '')})")
    return pygame


def run_window(pygame: Any, viewer: LiveViewer) -> None:
    """Shows the viewer's pictures and passes mouse and keys on, until the user quits."""
    screen: Any = None
    try:
        while not viewer.quit:
            for event in pygame.event.get():
                handle(pygame, viewer, event)
            viewer.advance()
            picture = viewer.picture()
            if picture is None:
                if viewer.source.ended:
                    break
                continue
            size = (picture.shape[1], picture.shape[0])
            if screen is None or screen.get_size() != size:
                screen = pygame.display.set_mode(size)
                pygame.display.set_caption(f"ebm live: {viewer.source.name}")
            screen.blit(pygame.image.frombuffer(picture.tobytes(), size, "RGB"), (0, 0))
            pygame.display.flip()
    finally:
        pygame.display.quit()


def handle(pygame: Any, viewer: LiveViewer, event: Any) -> None:
    """One of pygame's events."""
    if event.type == pygame.QUIT:
        viewer.quit = True
    elif event.type == pygame.KEYDOWN:
        viewer.key(pygame.key.name(event.key))
    elif event.type == pygame.MOUSEMOTION:
        viewer.move(event.pos)
    elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
        viewer.press(event.pos)
    elif event.type == pygame.MOUSEBUTTONUP and event.button == 1:
        viewer.release(event.pos)
    elif event.type == pygame.MOUSEBUTTONDOWN and event.button == 3:
        viewer.remove_at(event.pos)
