"""A test double of systemd for one service and its descriptors: it passes the
listener of a socket unit and the descriptor store to the service, and stores what
the service sends to NOTIFY_SOCKET.

Arguments: --listen or --no-listen, and the service's command. Commands are lines on
standard input: `start`; `stop`, answered by `stopped STATUS`; `store`, answered by
`store NAME:NAME`; `taken`, answered by `taken NAME:NAME` with everything that was ever
stored, and each `barrier`; and `plant NAME`, without an answer, which puts a
descriptor of this name into the store. The service ends with this program.
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
        # The child must not run the parent's clean-up.
        traceback.print_exc()
        os._exit(127)


def become(passed):
    # Two steps, because the final numbers may be in use by others of them.
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
        # Without FDPOLL=0 systemd removes descriptors whose peers have closed.
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
    """Takes all messages that have been sent."""
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


selector = selectors.DefaultSelector()
selector.register(notify, selectors.EVENT_READ, take_message)
selector.register(sys.stdin, selectors.EVENT_READ, None)
# Unbuffered, because the selector does not see buffered lines.
sys.stdin = os.fdopen(0, "rb", buffering=0)
try:
    while True:
        for key, _ in selector.select():
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
