"""What a caller may want to catch. A bad argument is a plain ValueError or TypeError instead.

Every message is one sentence that names the thing, what is allowed or was looked for, and what was found.
"""


class EbmError(Exception):
    """Base of this package's own errors: something outside the call (a file, a name) is not usable."""


class WeightsError(EbmError):
    """A weights file is missing, damaged, of another architecture, or not the one that was asked for."""


class VideoError(EbmError):
    """A video, a folder of frames or one of their frames cannot be read, or a video cannot be written."""


class PresetError(EbmError):
    """There is no preset of that name; the message lists the known ones."""


def one_line(error: BaseException) -> str:
    """The error's message on one line; an OSError's with its file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
