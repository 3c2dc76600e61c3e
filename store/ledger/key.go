package ledger

import (
	"fmt"
	"strings"
)

const hexDigits = "0123456789ABCDEF"

// String returns "RECEIVER/NAME/CLUSTER", each part escaped, so that every
// name can be read back.
func (k ConfirmationKey) String() string {
	return escape(string(k.Receiver)) + "/" + escape(k.Name) + "/" + escape(k.Cluster)
}

// MarshalText writes the form of String.
func (k ConfirmationKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (k *ConfirmationKey) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), "/")
	if len(parts) != 3 {
		return fmt.Errorf("confirmation key %q: want RECEIVER/NAME/CLUSTER", text)
	}
	for i, part := range parts {
		plain, err := unescape(part)
		if err != nil {
			return fmt.Errorf("confirmation key %q: %w", text, err)
		}
		parts[i] = plain
	}
	*k = ConfirmationKey{Receiver: Receiver(parts[0]), Name: parts[1], Cluster: parts[2]}
	return nil
}

// escape writes every byte that is not printable ASCII as %XX: JSON would
// replace those that are no UTF-8, and the key would come back as another.
func escape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c > ' ' && c < 0x7f && c != '%' && c != '/' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

func unescape(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", fmt.Errorf("%q ends within an escape", text)
		}
		hi, lo := strings.IndexByte(hexDigits, text[i+1]), strings.IndexByte(hexDigits, text[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("%q is no escape", text[i:i+3])
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), nil
}
