/* The load generator's echo case, for where there is a compiler: in Python it
   costs as much as a fast server does, which then waits for its load.

   load PORT CONNECTIONS SIZE COUNTER: each connection sends SIZE bytes, and
   again when they have come back. COUNTER is a file of eight bytes, mapped, in
   which the round trips are counted. It runs until it is killed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[262144], message[1 << 20];
static struct { size_t left, unsent; } *peers; /* by descriptor */
static size_t size;
static int queue;

static int fail(const char *what) {
  perror(what);
  return 1;
}

static void watch(int operation, int peer, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = peer};
  epoll_ctl(queue, operation, peer, &event);
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

int main(int count, char **arguments) {
  if (count != 5) return 2;
  int connections = atoi(arguments[2]), file = open(arguments[4], O_RDWR), one = 1;
  size = atol(arguments[3]);
  volatile uint64_t *trips = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (size > sizeof message || file < 0 || trips == MAP_FAILED) return fail("arguments");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  peers = calloc(connections + 64, sizeof *peers);
  queue = epoll_create1(0);
  for (int i = 0; i < connections; i++) {
    int peer = socket(AF_INET, SOCK_STREAM, 0);
    if (peer >= connections + 64 || connect(peer, (void *)&address, sizeof address))
      return fail("connect");
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(peer, F_SETFL, O_NONBLOCK);
    watch(EPOLL_CTL_ADD, peer, EPOLLIN);
    peers[peer].left = peers[peer].unsent = size;
    push(peer, 0);
  }
  for (struct epoll_event events[512];;) {
    int ready = epoll_wait(queue, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      int peer = events[i].data.fd;
      if (events[i].events & EPOLLOUT) push(peer, 1);
      if (!(events[i].events & ~EPOLLOUT)) continue;
      ssize_t got = recv(peer, buffer, sizeof buffer, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) return fail("the server has closed a connection");
      if (peers[peer].left -= got) continue;
      ++*trips;
      peers[peer].left = peers[peer].unsent = size;
      push(peer, 0);
    }
  }
}
