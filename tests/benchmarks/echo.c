/* Echo with epoll and nothing else: the floor, and what clients are measured against.
   It waits in send() for a peer that does not read, which only large messages show.

   echo PATH listens on a UNIX socket; without a path, or with an empty one, on a
   port.  echo PATH COUNTER SIZE counts messages of SIZE bytes in a mapped file. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char buffer[262144];

static int listening(const char *path) {
  struct sockaddr_in internet = {.sin_family = AF_INET};
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  socklen_t length = sizeof internet;
  int one = 1, listener = socket(*path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (*path) {
    strncpy(local.sun_path, path, sizeof local.sun_path - 1);
    if (bind(listener, (void *)&local, sizeof local) || listen(listener, 511)) exit(1);
    puts(path);
  } else {
    internet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(listener, (void *)&internet, length) || listen(listener, 511)) exit(1);
    getsockname(listener, (void *)&internet, &length);
    printf("%d\n", ntohs(internet.sin_port));
  }
  fflush(stdout);
  return listener;
}

static void answer(int peer, ssize_t got) {
  for (ssize_t sent = 0; sent < got;) {
    ssize_t n = send(peer, buffer + sent, got - sent, MSG_NOSIGNAL);
    if (n >= 0) { sent += n; continue; }
    if (errno != EAGAIN) return;
    struct pollfd wait = {.fd = peer, .events = POLLOUT};
    poll(&wait, 1, -1);
  }
}

int main(int count, char **arguments) {
  uint64_t bytes = 0, ignored, size = count > 3 ? atol(arguments[3]) : 1;
  volatile uint64_t *done = &ignored;
  if (count > 3)
    done = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, open(arguments[2], O_RDWR), 0);
  if (done == MAP_FAILED) return 2;
  int listener = listening(count > 1 ? arguments[1] : ""), epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      int peer = events[i].data.fd;
      if (peer == listener) {
        while ((peer = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
          event.data.fd = peer;
          epoll_ctl(epoll, EPOLL_CTL_ADD, peer, &event);
        }
        continue;
      }
      ssize_t got = recv(peer, buffer, sizeof buffer, 0);
      if (got > 0) {
        *done = (bytes += got) / size;
        answer(peer, got);
      } else if (got == 0 || errno != EAGAIN) {
        close(peer);
      }
    }
  }
}
