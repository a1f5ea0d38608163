/* The load generator, for where there is a compiler: in Python it costs as much
   as a fast server does, which then waits for its load.

   load CASE DOOR WHERE CONNECTIONS SIZE COUNTER [RATE]
     CASE is what is done, until it is killed:
       echo: each connection sends SIZE bytes, and again when they have come back.
       connect: so many at a time connect, send SIZE bytes, have them back, close.
       reset: the same, but they close with RST.
       rate: RATE messages a second, evenly, whether or not others have come back.
     DOOR is how a connection begins: tcp, unix, tls, or proxy, that is TCP with a
     PROXY header (version 2).  WHERE is a port of this host, or a path.
     COUNTER is a file of eight bytes, mapped, in which what is done is counted.
       For "rate" it has room for as many times, of four bytes each, in tenths of
       a microsecond; the program ends when it is full.
   Built with -DTLS and -lssl it knows TLS 1.3, with one suite and one group. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

struct peer {
  size_t left, unsent;     /* of the message that is under way */
  uint64_t begun, next;    /* "rate": the numbers of its present and next message */
  uint32_t interest;
  int waits;               /* "rate": a message is under way */
  SSL *tls;
};

static char buffer[262144], message[1 << 20];
static struct peer *peers; /* by descriptor */
static size_t size;
static int queue, places, resets, proxied, encrypted;
static volatile uint64_t *done;
static struct sockaddr_storage server;
static socklen_t serverLength;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int peer, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = peer};
  int operation = peers[peer].interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (peers[peer].interest == events) return;
  if (epoll_ctl(queue, operation, peer, &event)) fail("epoll_ctl");
  peers[peer].interest = events;
}

/* The bytes of a connection, in plain or under TLS; at 0 and below EAGAIN is told
   from an end. */
#ifdef TLS
static SSL_CTX *context;

static void prepareTLS(void) {
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  if (!SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384")) fail("suite");
  if (!SSL_CTX_set1_groups_list(context, "X25519")) fail("group");
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
  SSL_CTX_set_read_ahead(context, 1);
}

static void encrypt(int peer) {
  peers[peer].tls = SSL_new(context);
  SSL_set_fd(peers[peer].tls, peer);
  SSL_set_connect_state(peers[peer].tls);
}

static ssize_t outcome(int peer, int result) {
  if (result > 0) return result;
  int error = SSL_get_error(peers[peer].tls, result);
  errno = EAGAIN;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return -1;
  errno = EPROTO;
  return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t get(int peer) {
  if (!peers[peer].tls) return recv(peer, buffer, sizeof buffer, 0);
  return outcome(peer, SSL_read(peers[peer].tls, buffer, sizeof buffer));
}

static ssize_t put(int peer, size_t length) {
  if (!peers[peer].tls) return send(peer, message, length, MSG_NOSIGNAL);
  return outcome(peer, SSL_write(peers[peer].tls, message, length));
}

static void leave(int peer) {
  if (!peers[peer].tls) return;
  if (!resets) SSL_shutdown(peers[peer].tls);
  SSL_free(peers[peer].tls);
  peers[peer].tls = 0;
}
#else
static void prepareTLS(void) { fail("built without TLS"); }
static void encrypt(int peer) { (void)peer; }
static ssize_t get(int peer) { return recv(peer, buffer, sizeof buffer, 0); }
static ssize_t put(int peer, size_t length) { return send(peer, message, length, MSG_NOSIGNAL); }
static void leave(int peer) { (void)peer; }
#endif

/* A header as a proxy sends it, from an address of its own choice. */
static void sendHeader(int peer) {
  static const char header[28] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                                 "\x7f\x09\x08\x07\x7f\0\0\x01\x30\x39\x1f\x90";
  if (send(peer, header, sizeof header, MSG_NOSIGNAL) != sizeof header) fail("header");
}

static int opened(int flags) {
  int peer = socket(server.ss_family, SOCK_STREAM | flags, 0), one = 1;
  if (peer < 0 || peer >= places) fail("socket");
  memset(&peers[peer], 0, sizeof peers[peer]);
  if (server.ss_family == AF_INET)
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return peer;
}

/* Send what is left of a message, as far as there is room. */
static void push(int peer) {
  while (peers[peer].unsent) {
    ssize_t sent = put(peer, peers[peer].unsent);
    if (sent <= 0) break;
    peers[peer].unsent -= sent;
  }
  watch(peer, peers[peer].unsent ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* Read what has come; whether it was the end of a message. */
static int pull(int peer) {
  for (;;) {
    ssize_t got = get(peer);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) fail("the server has closed a connection");
    if (!(peers[peer].left -= got)) return 1;
    if (!peers[peer].tls) return 0;
  }
}

static void begin(int peer) {
  peers[peer].left = peers[peer].unsent = size;
  push(peer);
}

/* A connection that stays, with its handshake behind it. */
static int beginLong(void) {
  int peer = opened(0);
  if (connect(peer, (void *)&server, serverLength)) fail("connect");
  if (proxied) sendHeader(peer);
#ifdef TLS
  if (encrypted) {
    encrypt(peer);
    if (SSL_connect(peers[peer].tls) != 1) fail("handshake");
  }
#endif
  fcntl(peer, F_SETFL, O_NONBLOCK);
  watch(peer, EPOLLIN);
  return peer;
}

static void beginEcho(void) { begin(beginLong()); }

static void echo(int peer, uint32_t events) {
  if (events & EPOLLOUT) push(peer);
  if (!(events & ~EPOLLOUT) || !pull(peer)) return;
  ++*done;
  begin(peer);
}

static void beginShort(void) {
  /* Closed connections keep their port for a minute; there are more addresses.  Clients
     are many, proxies are few. */
  static unsigned number;
  struct sockaddr_in source = {.sin_family = AF_INET};
  int peer = opened(SOCK_NONBLOCK), one = 1;
  unsigned net = proxied ? 1 : 1 + number / 200 % 100;
  source.sin_addr.s_addr = htonl(0x7f000001 | net << 16 | number % 200 << 8);
  number++;
  if (server.ss_family == AF_INET) {
    setsockopt(peer, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(peer, (void *)&source, sizeof source)) fail("bind");
  }
  if (connect(peer, (void *)&server, serverLength) && errno != EINPROGRESS) fail("connect");
  peers[peer].left = size;
  watch(peer, EPOLLOUT);
}

static void talk(int peer, uint32_t events) {
  struct linger now = {.l_onoff = 1};
  if (events & EPOLLOUT) { /* it is connected */
    if (proxied) sendHeader(peer);
    if (encrypted) encrypt(peer);
    peers[peer].unsent = size;
    push(peer);
    watch(peer, EPOLLIN); /* a handshake goes on when it has something to read */
    return;
  }
  if (peers[peer].unsent) push(peer), watch(peer, EPOLLIN);
  if (peers[peer].unsent || !pull(peer)) return;
  leave(peer);
  if (resets) setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(peer);
  ++*done;
  beginShort();
}

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Message N is due N periods after the start, on connection N modulo their number,
   and its time counts from then: one that is late delays the next on the same
   connection, whose time shows it. */
static void keepRate(int first, int connections, double rate, uint32_t *times, size_t room) {
  uint64_t period = 1e9 / rate, start = nanoseconds() + 1000000, number = 0;
  size_t finished = 0;
  struct epoll_event events[512];
  for (int i = 0; i < connections; i++) peers[first + i].next = i;
  while (finished < room) {
    uint64_t now = nanoseconds();
    for (; now >= start + number * period; number++) {
      struct peer *peer = &peers[first + number % connections];
      if (peer->waits) continue; /* it will catch up */
      peer->waits = 1;
      peer->begun = peer->next, peer->next += connections;
      begin(first + number % connections);
    }
    int ready = epoll_wait(queue, events, 512, 0);
    for (int i = 0; i < ready; i++) {
      int descriptor = events[i].data.fd;
      struct peer *peer = &peers[descriptor];
      if (events[i].events & EPOLLOUT) push(descriptor);
      if (!(events[i].events & ~EPOLLOUT) || !pull(descriptor)) continue;
      now = nanoseconds();
      if (finished < room)
        times[finished++] = (now - (start + peer->begun * period)) / 100;
      peer->waits = peer->next < number; /* which is due already */
      if (!peer->waits) continue;
      peer->begun = peer->next, peer->next += connections;
      begin(descriptor);
    }
  }
}

static void find(const char *door, const char *where) {
  struct sockaddr_in *internet = (void *)&server;
  struct sockaddr_un *local = (void *)&server;
  if (!strcmp(door, "unix")) {
    local->sun_family = AF_UNIX;
    strncpy(local->sun_path, where, sizeof local->sun_path - 1);
    serverLength = sizeof *local;
  } else {
    internet->sin_family = AF_INET;
    internet->sin_port = htons(atoi(where));
    internet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    serverLength = sizeof *internet;
  }
  proxied = !strcmp(door, "proxy");
  encrypted = !strcmp(door, "tls");
  if (encrypted) prepareTLS();
}

int main(int count, char **arguments) {
  if (count < 7) return 2;
  const char *what = arguments[1];
  int connections = atoi(arguments[4]), file = open(arguments[6], O_RDWR), first = 0;
  struct stat facts;
  size = atol(arguments[5]);
  if (fstat(file, &facts) || size > sizeof message) fail("arguments");
  message[size - 1] = '\n';  /* for servers that read lines */
  done = mmap(0, facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (done == MAP_FAILED) fail("counter");
  find(arguments[2], arguments[3]);
  places = connections + 64;
  peers = calloc(places, sizeof *peers);
  queue = epoll_create1(0);
  if (!strcmp(what, "rate")) {
    for (int i = 0; i < connections; i++) {
      int peer = beginLong();
      if (!i) first = peer;
    }
    keepRate(first, connections, atof(arguments[7]), (uint32_t *)done, facts.st_size / 4);
    return 0;
  }
  int connects = !!strcmp(what, "echo");
  resets = !strcmp(what, "reset");
  while (connections--) connects ? beginShort() : beginEcho();
  for (struct epoll_event events[512];;) {
    int ready = epoll_wait(queue, events, 512, -1);
    for (int i = 0; i < ready; i++)
      (connects ? talk : echo)(events[i].data.fd, events[i].events);
  }
}
