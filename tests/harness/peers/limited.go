// The program with Go's net, and the pattern of netutil.LimitListener: a semaphore before
// accept, given back when the connection is closed.  See program.py and wanted.py.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

type wishes struct {
	Limit                                         int
	Overflow                                      string
	FirstByte, Idle, Lifetime, Stall, Close, Drain float64
}

var (
	wanted wishes
	much   = make([]byte, 8000000)
	lock   sync.Mutex
	living = map[net.Conn]bool{}
	eaten  []*os.File
)

func seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }

func eat() {
	for {
		file, err := os.Open("/dev/null")
		if err != nil {
			return
		}
		eaten = append(eaten, file)
	}
}

func answer(data []byte) []byte {
	if data[0] != '!' || len(data) < 2 {
		return data
	}
	switch data[1] {
	case 'f':
		return much
	case 'r':
		panic(string(data))
	case 'h':
		time.Sleep(time.Second)
	case 'z':
		select {}
	case 'e':
		eat()
	case 's':
		for _, file := range eaten {
			file.Close()
		}
		eaten = nil
	}
	return data
}

func serve(client net.Conn, free func()) {
	lock.Lock()
	living[client] = true
	lock.Unlock()
	defer func() {
		if err := recover(); err != nil {
			fmt.Println(err)
		}
		client.Close()
		lock.Lock()
		delete(living, client)
		lock.Unlock()
		free()
	}()
	end := time.Now().Add(seconds(wanted.Lifetime))
	within := func(value float64) time.Time {
		if at := time.Now().Add(seconds(value)); at.Before(end) {
			return at
		}
		return end
	}
	buffer := make([]byte, 65536)
	patience := wanted.FirstByte
	for {
		client.SetReadDeadline(within(patience))
		count, err := client.Read(buffer)
		if err != nil {
			return
		}
		patience = wanted.Idle
		rest := answer(buffer[:count])
		for len(rest) > 0 {
			piece := rest
			if len(piece) > 65536 {
				piece = piece[:65536]
			}
			client.SetWriteDeadline(within(wanted.Stall))
			sent, err := client.Write(piece)
			if err != nil {
				return
			}
			rest = rest[sent:]
		}
	}
}

func main() {
	if err := json.Unmarshal([]byte(os.Args[1]), &wanted); err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	slots := make(chan bool, wanted.Limit)
	fmt.Printf("listening on %s\n", listener.Addr())
	go func() {
		for {
			if wanted.Overflow == "wait" {
				slots <- true
			}
			client, err := listener.Accept()
			if err != nil {
				if wanted.Overflow == "wait" {
					<-slots
				}
				if err, is := err.(net.Error); is && err.Temporary() {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				return
			}
			if wanted.Overflow != "wait" {
				select {
				case slots <- true:
				default:
					if wanted.Overflow == "reset" {
						client.(*net.TCPConn).SetLinger(0)
					}
					client.Close()
					continue
				}
			}
			go serve(client, func() { <-slots })
		}
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
	listener.Close()
	lock.Lock()
	for client := range living {
		// Ends the wait for more, not the write that is under way.
		client.SetReadDeadline(time.Now())
	}
	lock.Unlock()
	end := time.Now().Add(seconds(wanted.Drain))
	for time.Now().Before(end) {
		lock.Lock()
		left := len(living)
		lock.Unlock()
		if left == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
