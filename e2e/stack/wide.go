package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// mtu is a tunnel device's, as the kernel makes it.
	mtu = 1500
	// underWay is how many packets may be on one way at a time; more are lost, as in any queue.
	underWay = 8192
)

// wide carries packets between hosts that are far from each other. The kernel's own bridge can lose packets and not
// delay them, so each host has a tunnel device instead of a link to a bridge, and this process is what lies between.
type wide struct {
	delay   time.Duration
	devices []*os.File // by the hosts' numbers; the first is the test's
	running sync.WaitGroup
}

type packet struct {
	bytes []byte
	due   time.Time
}

// NewWideNet is NewNet with a delay between its hosts, each way; the test itself is near all of them.
func (s *Stack) NewWideNet(ctx context.Context, delay time.Duration, names ...string) (*Net, error) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return nil, fmt.Errorf("a delay takes tunnel devices (modprobe tun): %w", err)
	}
	return s.newNet(ctx, &wide{delay: delay}, names)
}

// join gives a namespace its device of this name.
func (w *wide) join(ctx context.Context, home, space *os.File, name, address string) error {
	var device *os.File
	if err := within(home, space, func() (err error) {
		device, err = openTunnel(name)
		return err
	}); err != nil {
		return err
	}
	w.devices = append(w.devices, device)
	return ipBatch(ctx, home, space, fmt.Sprintf("addr add %s/24 dev %s", address, name),
		fmt.Sprintf("link set %s txqueuelen %d up", name, underWay))
}

// openTunnel makes a device in this thread's namespace. It is gone when the file is closed.
func openTunnel(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the tunnel device %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// run carries until close.
func (w *wide) run() {
	for from := range w.devices {
		w.running.Go(func() { w.carry(from) })
	}
}

func (w *wide) close() error {
	var failures []error
	for _, device := range w.devices {
		failures = append(failures, device.Close())
	}
	w.running.Wait()
	return errors.Join(failures...)
}

// carry takes what one host sends to where it goes. Each way keeps its order.
func (w *wide) carry(from int) {
	ways := make([]chan packet, len(w.devices))
	for to := range ways {
		ways[to] = make(chan packet, underWay)
		defer close(ways[to])
		w.running.Go(func() { w.deliver(ways[to], w.devices[to]) })
	}
	buffer := make([]byte, mtu)
	for {
		size, err := w.devices[from].Read(buffer)
		if err != nil {
			return
		}
		to, known := w.destination(buffer[:size])
		switch {
		case !known:
		case from == 0 || to == 0:
			_, _ = w.devices[to].Write(buffer[:size]) // a packet that is lost is sent again, or missed by who sent it
		default:
			select {
			case ways[to] <- packet{append([]byte(nil), buffer[:size]...), time.Now().Add(w.delay)}:
			default:
			}
		}
	}
}

func (w *wide) deliver(way <-chan packet, device *os.File) {
	for p := range way {
		time.Sleep(time.Until(p.due))
		_, _ = device.Write(p.bytes)
	}
}

// destination is the number of the host that an IPv4 packet is for.
func (w *wide) destination(bytes []byte) (number int, known bool) {
	const least, last = 20, 19 // the shortest header, and the last byte of the address in it
	if len(bytes) < least || bytes[0]>>4 != 4 {
		return 0, false
	}
	number = int(bytes[last]) / hostAddresses
	return number, number < len(w.devices)
}
