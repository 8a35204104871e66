"""Runs one of stock pytracking's scripts with keys, mouse and camera of a script instead of a person's.

    python stock_driver.py SCRIPT VIDEO ACTIONS ARGUMENT...

SCRIPT is run as its own command line would; VIDEO stands in for the camera; ACTIONS is JSON: number of the call of
cv2.waitKey -> a key, or [x, y, w, h] for a box drawn with two clicks. The last line of the output is JSON: the tracked
boxes that were drawn.
"""

import json
import os
import runpy
import sys

import cv2  # noqa: TID253 - a script for an interpreter that has it

script, video, actions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
callbacks, calls, boxes = [], [0], []
capture, draw = cv2.VideoCapture, cv2.rectangle


def wait_key(delay=0):
    action = actions.get(str(calls[0]), -1)
    calls[0] += 1
    if isinstance(action, str):
        return ord(action)
    if isinstance(action, list):
        x, y, w, h = action
        callbacks[-1](cv2.EVENT_LBUTTONDOWN, x, y, 0, None)
        callbacks[-1](cv2.EVENT_MOUSEMOVE, x + w, y + h, 0, None)
        callbacks[-1](cv2.EVENT_LBUTTONDOWN, x + w, y + h, 0, None)
    return -1


def rectangle(image, corner, opposite, color, thickness=1, *rest):
    if thickness == 5:  # how tracked boxes are drawn
        boxes.append([*corner, opposite[0] - corner[0], opposite[1] - corner[1]])
    return draw(image, corner, opposite, color, thickness, *rest)


cv2.waitKey = wait_key
cv2.rectangle = rectangle
cv2.setMouseCallback = lambda window, callback, *rest: callbacks.append(callback)
cv2.VideoCapture = lambda source: capture(video if source == 0 else source)
sys.argv = [script, *sys.argv[4:]]
sys.path[0] = os.path.dirname(os.path.abspath(script))
runpy.run_path(script, run_name="__main__")
print(json.dumps(boxes))
