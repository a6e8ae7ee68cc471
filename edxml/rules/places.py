"""Where the parts of a packet stand: the beginnings of the paths that findings name."""

from __future__ import annotations

__all__ = ["ATTACHMENTS", "BUSINESS", "HEADER", "MANIFEST", "TRACE"]

HEADER = "edXML/edXMLEnvelope/edXMLHeader/MessageHeader"
TRACE = "edXML/edXMLEnvelope/edXMLHeader/TraceHeaderList"
BUSINESS = f"{TRACE}/Bussiness"
MANIFEST = "edXML/edXMLEnvelope/edXMLBody/edXMLManifest"
ATTACHMENTS = "edXML/AttachmentEncoded"
