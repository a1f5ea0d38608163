/* The load generator, for where there is a compiler: in Python it costs as much
   as a fast server does, which then waits for its load.

   load CASE PORT CONNECTIONS SIZE COUNTER
     echo: each connection sends SIZE bytes, and again when they have come back.
     connect: so many at a time connect, send SIZE bytes, have them back, close.
   COUNTER is a file of eight bytes, mapped, in which what is done is counted.
   It runs until it is killed. */
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
#include <unistd.h>

static char buffer[262144], message[1 << 20];
static struct { size_t left, unsent; } *peers; /* by descriptor */
static size_t size;
static int queue, places;
static volatile uint64_t *done;
static struct sockaddr_in server = {.sin_family = AF_INET};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int operation, int peer, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = peer};
  if (epoll_ctl(queue, operation, peer, &event)) fail("epoll_ctl");
}

static int opened(int flags) {
  int peer = socket(AF_INET, SOCK_STREAM | flags, 0);
  if (peer < 0 || peer >= places) fail("socket");
  return peer;
}

/* Send what is left of a message, as far as there is room. */
static void push(int peer, int waited) {
  while (peers[peer].unsent) {
    ssize_t sent = send(peer, message, peers[peer].unsent, MSG_NOSIGNAL);
    if (sent < 0) break;
    peers[peer].unsent -= sent;
  }
  int waits = peers[peer].unsent > 0;
  if (waits != waited) watch(EPOLL_CTL_MOD, peer, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void beginEcho(void) {
  int peer = opened(0), one = 1;
  if (connect(peer, (void *)&server, sizeof server)) fail("connect");
  setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(peer, F_SETFL, O_NONBLOCK);
  watch(EPOLL_CTL_ADD, peer, EPOLLIN);
  peers[peer].left = peers[peer].unsent = size;
  push(peer, 0);
}

static void echo(int peer, uint32_t events) {
  if (events & EPOLLOUT) push(peer, 1);
  if (!(events & ~EPOLLOUT)) return;
  ssize_t got = recv(peer, buffer, sizeof buffer, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) fail("the server has closed a connection");
  if (peers[peer].left -= got) return;
  ++*done;
  peers[peer].left = peers[peer].unsent = size;
  push(peer, 0);
}

static void beginConnect(void) {
  /* Closed connections keep their port for a minute; there are more addresses. */
  static unsigned number;
  struct sockaddr_in source = {.sin_family = AF_INET};
  int peer = opened(SOCK_NONBLOCK), one = 1;
  source.sin_addr.s_addr = htonl(0x7f000001 | (1 + number / 200 % 100) << 16 | number % 200 << 8);
  number++;
  setsockopt(peer, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  if (bind(peer, (void *)&source, sizeof source)) fail("bind");
  if (connect(peer, (void *)&server, sizeof server) && errno != EINPROGRESS) fail("connect");
  watch(EPOLL_CTL_ADD, peer, EPOLLOUT);
}

static void talk(int peer, uint32_t events) {
  if (events & EPOLLOUT) {
    if (send(peer, message, size, MSG_NOSIGNAL) < 0) fail("send");
    watch(EPOLL_CTL_MOD, peer, EPOLLIN);
  } else {
    if (recv(peer, buffer, sizeof buffer, 0) <= 0) fail("recv");
    close(peer);
    ++*done;
    beginConnect();
  }
}

int main(int count, char **arguments) {
  if (count != 6) return 2;
  int connects = !strcmp(arguments[1], "connect"), connections = atoi(arguments[3]);
  int file = open(arguments[5], O_RDWR);
  size = atol(arguments[4]);
  done = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (size > sizeof message || done == MAP_FAILED) fail("arguments");
  server.sin_port = htons(atoi(arguments[2]));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  places = connections + 64;
  peers = calloc(places, sizeof *peers);
  queue = epoll_create1(0);
  while (connections--) connects ? beginConnect() : beginEcho();
  for (struct epoll_event events[512];;) {
    int ready = epoll_wait(queue, events, 512, -1);
    for (int i = 0; i < ready; i++)
      (connects ? talk : echo)(events[i].data.fd, events[i].events);
  }
}
