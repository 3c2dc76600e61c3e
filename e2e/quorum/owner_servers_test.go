//go:build servers

package quorum_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// What the kernel is asked about one connection by, and where in its answer the socket's number is (sock_diag(7)).
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	diagRequest      = 72
	diagInode        = 16 + 68
)

// owner finds the controller that has opened a connection to a door: no address tells, since all of them live on one host.
func owner(nodes []*node, from, door net.Addr) (string, error) {
	inode, err := socket(from, door)
	if err != nil {
		return "", err
	}
	link := fmt.Sprintf("socket:[%d]", inode)
	for _, n := range nodes {
		// What cannot be read has ended.
		files, _ := filepath.Glob("/proc/" + strconv.Itoa(n.process.Pid()) + "/fd/*")
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil && target == link {
				return n.id, nil
			}
		}
	}
	return "", fmt.Errorf("%s is of no controller that lives", from)
}

// socket asks the kernel for the number of the socket at one end of a connection.
func socket(local, remote net.Addr) (inode uint32, err error) {
	source, ok := local.(*net.TCPAddr)
	target, also := remote.(*net.TCPAddr)
	if !ok || !also {
		return 0, fmt.Errorf("%s is no TCP connection", local)
	}
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return 0, fmt.Errorf("ask the kernel for sockets: %w", err)
	}
	defer func() { err = errors.Join(err, syscall.Close(fd)) }()
	native, network := binary.NativeEndian, binary.BigEndian
	request := make([]byte, diagRequest)
	native.PutUint32(request, diagRequest)
	native.PutUint16(request[4:], sockDiagByFamily)
	native.PutUint16(request[6:], syscall.NLM_F_REQUEST)
	request[16], request[17] = syscall.AF_INET, syscall.IPPROTO_TCP
	native.PutUint32(request[20:], ^uint32(0)) // in any state
	network.PutUint16(request[24:], uint16(source.Port))
	network.PutUint16(request[26:], uint16(target.Port))
	copy(request[28:], source.IP.To4())
	copy(request[44:], target.IP.To4())
	native.PutUint64(request[64:], ^uint64(0)) // no cookie
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask the kernel for a socket: %w", err)
	}
	answer := make([]byte, 4096)
	size, _, err := syscall.Recvfrom(fd, answer, 0)
	switch {
	case err != nil:
		return 0, fmt.Errorf("ask the kernel for a socket: %w", err)
	case size < diagInode+4 || native.Uint16(answer[4:]) != sockDiagByFamily:
		return 0, fmt.Errorf("nobody has the connection from %s", local)
	}
	return native.Uint32(answer[diagInode:]), nil
}
