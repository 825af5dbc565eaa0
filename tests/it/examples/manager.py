"""What systemd does for one service, as far as descriptors go: it passes a
socket unit's listener and what its descriptor store has, and takes into the
store what the service sends to NOTIFY_SOCKET.

Called with --listen or --no-listen, and the service's command. It is told
`start`, `stop`, `store` and `taken` by lines on its standard input, and answers
`stopped STATUS`, `store NAME:NAME`, and `taken NAME:NAME` with all that it has ever
taken into its store, and each `barrier`. `plant NAME` is answered by nothing: it is
as if something of this name were in the store. Its end is the service's end.
"""

import fcntl
import os
import selectors
import signal
import socket
import sys
import tempfile
import traceback

command = sys.argv[2:]
folder = tempfile.TemporaryDirectory()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = os.path.join(folder.name, "notify")
notify.bind(path)
store = []
taken = []
activated = []
if sys.argv[1] == "--listen":
    unit = socket.create_server(("127.0.0.1", 0))
    print("activated at %s:%d" % unit.getsockname(), flush=True)
    activated.append(("web.socket", unit.fileno()))
service = None


def start():
    global service
    passed = activated + store
    sys.stdout.flush()
    child = os.fork()
    if child:
        service = child
        return
    try:
        become(passed)
    finally:
        # The parent's own end is not this process's.
        traceback.print_exc()
        os._exit(127)


def become(passed):
    # First out of the way, then into their places.
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for _, fd in passed]
    for i, fd in enumerate(aside):
        os.dup2(fd, 3 + i)
    environment = dict(
        os.environ,
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDS=str(len(passed)),
        LISTEN_FDNAMES=":".join(name for name, _ in passed),
        NOTIFY_SOCKET=path,
    )
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execve(command[0], command, environment)


def take_message():
    global store
    text, fds, _, _ = socket.recv_fds(notify, 4096, 8)
    fields = dict(line.split("=", 1) for line in text.decode().splitlines())
    name = fields.get("FDNAME")
    if fields.get("FDSTORE") == "1":
        # It would take out what it finds at its end.
        store += [(name, fd) for fd in fds if fields.get("FDPOLL") == "0"]
        taken.append(name)
        return
    if fields.get("BARRIER") == "1":
        taken.append("barrier")
    for fd in fds:
        os.close(fd)
    if fields.get("FDSTOREREMOVE") == "1":
        for _, fd in [entry for entry in store if entry[0] == name]:
            os.close(fd)
        store = [entry for entry in store if entry[0] != name]


def take_messages():
    """All that were sent before."""
    notify.setblocking(False)
    try:
        while True:
            take_message()
    except BlockingIOError:
        notify.setblocking(True)


def stop():
    global service
    if service is None:
        return
    os.kill(service, signal.SIGTERM)
    notify.settimeout(0.05)
    while True:
        try:
            take_message()
        except TimeoutError:
            ended, status = os.waitpid(service, os.WNOHANG)
            if ended:
                service = None
                print("stopped", os.waitstatus_to_exitcode(status), flush=True)
                notify.settimeout(None)
                return


told = selectors.DefaultSelector()
told.register(notify, selectors.EVENT_READ, take_message)
told.register(sys.stdin, selectors.EVENT_READ, None)
# The descriptor itself: what a buffer holds would not be selected.
sys.stdin = os.fdopen(0, "rb", buffering=0)
try:
    while True:
        for key, _ in told.select():
            if key.data:
                key.data()
                continue
            line = sys.stdin.readline().strip()
            if not line:
                sys.exit(0)
            if line == b"start":
                start()
            elif line == b"stop":
                stop()
            elif line == b"store":
                take_messages()
                print("store", ":".join(name for name, _ in store), flush=True)
            elif line.startswith(b"plant "):
                store.append((line[6:].decode(), os.open(os.devnull, os.O_RDONLY)))
            elif line == b"taken":
                take_messages()
                print("taken", ":".join(taken), flush=True)
finally:
    if service is not None:
        os.kill(service, signal.SIGKILL)
        os.waitpid(service, 0)
