import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** What Lucene is given and gives back, in big-endian files; the loop over listings, which it times. */
final class Given {
    static final int WORDS = 3;
    static final int WORD_BITS = 62;
    static final int CLASSES = 4;
    static final int WARM_UP_LISTINGS = 200;
    static final double WARM_UP = 0.2;

    /** A row of the table: it fits a probe if its bounds hold and its words have all bits of the probe's. */
    record Row(int key, int ref, int rentLow, int rentHigh, int areaLow, int areaHigh, int deposit, int available,
            long[] words) {}

    /** What the rows under a key are compared with. */
    record Look(int key, int low, int high) {}

    record Probe(Look[] looks, int areaLow, int areaHigh, int deposit, int available, long[] words) {}

    interface Matcher {
        /** The refs of all rows that fit, and how many they are. */
        int match(Probe probe, int[] into) throws IOException;
    }

    interface RowReader {
        void accept(Row row) throws IOException;
    }

    static int forEachRow(Path file, RowReader reader) throws IOException {
        try (var in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 20))) {
            int rows = in.readInt();
            for (int row = 0; row < rows; row++) {
                reader.accept(new Row(in.readInt(), in.readInt(), in.readInt(), in.readInt(), in.readInt(),
                        in.readInt(), in.readInt(), in.readInt(), words(in)));
            }
            return rows;
        }
    }

    /** Says how many bytes are used, then answers a file of probes for each line of the standard input. */
    static void serve(Matcher matcher, int rows, long bytes) throws IOException {
        System.out.println("loaded " + bytes);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        var refs = new int[rows];
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] asked = line.split("\t");
            answer(matcher, probes(Path.of(asked[0])), Path.of(asked[1]), Double.parseDouble(asked[2]), refs);
            System.out.println("answered");
        }
    }

    private static void answer(Matcher matcher, Probe[] probes, Path file, double seconds, int[] refs)
            throws IOException {
        List<Probe> last = Arrays.asList(probes).subList(Math.max(0, probes.length - WARM_UP_LISTINGS), probes.length);
        long until = System.nanoTime() + (long) (WARM_UP * seconds * 1e9);
        do {  // a compiler that learns from what is run is done with it
            for (Probe probe : last) {
                matcher.match(probe, refs);
            }
        } while (System.nanoTime() < until);
        until = System.nanoTime() + (long) (seconds * 1e9);
        try (var out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file), 1 << 20))) {
            for (Probe probe : probes) {
                long began = System.nanoTime();
                int found = matcher.match(probe, refs);
                long ended = System.nanoTime();
                out.writeLong(ended - began);
                out.writeInt(found);
                for (int each = 0; each < found; each++) {
                    out.writeInt(refs[each]);
                }
                if (ended > until) {
                    break;
                }
            }
        }
    }

    private static Probe[] probes(Path file) throws IOException {
        try (var in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 20))) {
            var probes = new Probe[in.readInt()];
            for (int each = 0; each < probes.length; each++) {
                var looks = new Look[in.readInt()];
                for (int look = 0; look < looks.length; look++) {
                    looks[look] = new Look(in.readInt(), in.readInt(), in.readInt());
                }
                probes[each] = new Probe(looks, in.readInt(), in.readInt(), in.readInt(), in.readInt(), words(in));
            }
            return probes;
        }
    }

    private static long[] words(DataInputStream in) throws IOException {
        var words = new long[WORDS];
        for (int word = 0; word < WORDS; word++) {
            words[word] = in.readLong();
        }
        return words;
    }
}
