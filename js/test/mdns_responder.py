"""A responder of multicast DNS for tests: answers for one web server, and sends hostile packets when it is told to.

It shares no code with the example. Lines on standard input are orders: `hostile`, `bye`, `back`, `end`.
"""

import os
import socket
import struct
import sys
import threading

ADDRESS = sys.argv[1]
GROUP, PORT = "224.0.0.251", 5353
A, PTR, TXT, SRV = 1, 12, 16, 33
TYPE = ["_http", "_tcp", "local"]
INSTANCE = ["The Server", *TYPE]
HOST = ["server", "local"]


def name(labels):
    return b"".join(bytes([len(text.encode())]) + text.encode() for text in labels) + b"\0"


def record(labels, kind, data, ttl=120):
    return name(labels) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


RECORDS = {
    ("_services._dns-sd._udp.local", PTR): record(["_services", "_dns-sd", "_udp", "local"], PTR, name(TYPE)),
    ("_http._tcp.local", PTR): record(TYPE, PTR, name(INSTANCE)),
    ("the server._http._tcp.local", SRV): record(INSTANCE, SRV, struct.pack("!HHH", 0, 0, 8080) + name(HOST)),
    ("the server._http._tcp.local", TXT): record(INSTANCE, TXT, b"\x06path=/\x04flag"),
    ("server.local", A): record(HOST, A, socket.inet_aton(ADDRESS)),
}


def response(records):
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def questions(packet):
    count = struct.unpack("!H", packet[4:6])[0]
    at = 12
    for _ in range(count):
        labels = []
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        kind, klass = struct.unpack("!HH", packet[at + 1 : at + 5])
        at += 5
        yield ".".join(labels).lower(), kind, bool(klass & 0x8000)


listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("0.0.0.0", PORT))
membership = socket.inet_aton(GROUP) + socket.inet_aton(ADDRESS)
listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
listener.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ADDRESS))
listener.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
is_gone = threading.Event()


def orders():
    for line in sys.stdin:
        order = line.strip()
        if order == "bye":
            is_gone.set()
            listener.sendto(response([record(TYPE, PTR, name(INSTANCE), ttl=0)]), (GROUP, PORT))
        elif order == "hostile":
            whole = response([record(TYPE, PTR, name(["Evil", *TYPE]))])
            packets = [
                b"",
                b"\0",
                whole[:20],
                whole[:-3],
                # A pointer to itself, and two to each other.
                struct.pack("!HHHHHH", 0, 0x8400, 0, 1, 0, 0) + b"\xc0\x0c" + struct.pack("!HHIH", PTR, 1, 120, 2) + b"\xc0\x0c",
                struct.pack("!HHHHHH", 0, 0x8400, 0, 65535, 65535, 65535) + name(TYPE),
                whole.replace(struct.pack("!H", len(name(["Evil", *TYPE]))), b"\xff\xff"),
                b"\xff" * 9000,
                # Larger than the buffer of the browser.
                b"\xff" * 20000,
            ] + [os.urandom(400) for _ in range(50)]
            for packet in packets:
                listener.sendto(packet, (GROUP, PORT))
            # An answer from another port is none.
            stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(ADDRESS))
            stranger.sendto(whole, (GROUP, PORT))
            print("hostile", flush=True)
        elif order == "back":
            is_gone.clear()
            listener.sendto(response(list(RECORDS.values())), (GROUP, PORT))
        elif order == "end":
            break
    os._exit(0)


threading.Thread(target=orders, daemon=True).start()
print("ready", flush=True)
while True:
    packet, source = listener.recvfrom(9000)
    if len(packet) < 12 or packet[2] & 0x80:
        continue
    try:
        asked = list(questions(packet))
    except (IndexError, struct.error, UnicodeDecodeError):
        continue
    answers = [RECORDS[key] for key in [(text, kind) for text, kind, _ in asked] if key in RECORDS]
    is_unicast = any(unicast for _, _, unicast in asked) or source[1] != PORT
    print("asked", "unicast" if is_unicast else "multicast", source[1], flush=True)
    if answers and not is_gone.is_set():
        listener.sendto(response(answers), source if is_unicast else (GROUP, PORT))
