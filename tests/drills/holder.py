"""A program of its own that wants a serial port for itself: `holder.py PATH`.

It takes the port as soon as it is there and free, says so, lets go when it reads a
line, and says that too.
"""

import fcntl
import os
import sys
import time

while True:
    try:
        port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        time.sleep(0.001)
        continue
    try:
        # The way of serialx, pyserial, and most others.
        fcntl.flock(port, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        os.close(port)
        time.sleep(0.001)
sys.stdout.write("held\n")
sys.stdout.flush()
sys.stdin.readline()
os.close(port)
sys.stdout.write("free\n")
