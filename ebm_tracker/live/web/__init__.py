"""The live demo as a page in the browser: ``ebm live --web``.

Starlette on uvicorn, one WebSocket per page, and a front end of our own in ``page/``. Looked at and left: gradio, which
brings some thirty packages and an older Pillow, loads fonts from elsewhere, and has no box that is drawn on a running
stream and then moves; rerun, whose viewer shows what is logged but sends no drawing back; FastAPI, which is Starlette
plus request models that these few routes do not need. Nothing the page loads comes from elsewhere.
"""
