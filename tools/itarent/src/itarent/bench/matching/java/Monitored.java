import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.lucene.analysis.core.KeywordAnalyzer;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.IntPoint;
import org.apache.lucene.document.StringField;
import org.apache.lucene.index.Term;
import org.apache.lucene.monitor.Monitor;
import org.apache.lucene.monitor.MonitorConfiguration;
import org.apache.lucene.monitor.MonitorQuery;
import org.apache.lucene.monitor.MultipassTermFilteredPresearcher;
import org.apache.lucene.monitor.QueryMatch;
import org.apache.lucene.monitor.TermWeightor;
import org.apache.lucene.search.BooleanClause.Occur;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.TermQuery;

/**
 * Lucene's Monitor: a query for each row, a listing as a document in memory. What a row accepts of a group of values
 * is a disjunction of terms; the presearcher looks for the place first.
 */
final class Monitored {
    private static final int PASSES = 4;
    private static final int AT_ONCE = 10_000;

    private record Group(int first, int length) {
        boolean has(long[] words, int each) {
            int bit = first + each;
            return (words[bit / Given.WORD_BITS] >>> (bit % Given.WORD_BITS) & 1) != 0;
        }

        String field() {
            return "group" + first;
        }
    }

    public static void main(String[] args) throws IOException {
        Path home = Path.of(args[0]);
        List<Group> groups = new ArrayList<>();
        for (String line : Files.readAllLines(home.resolve("groups"))) {
            String[] numbers = line.split(" ");
            groups.add(new Group(Integer.parseInt(numbers[0]), Integer.parseInt(numbers[1])));
        }
        Map<String, Double> weights = new HashMap<>(Map.of("key", 4.0));
        groups.forEach(group -> weights.put(group.field(), 0.5));
        TermWeightor weightor = term -> weights.getOrDefault(term.field(), 0.1);
        var presearcher = new MultipassTermFilteredPresearcher(PASSES, 0, weightor, List.of(), Set.of());
        var config = new MonitorConfiguration().setQueryUpdateBufferSize(AT_ONCE);
        try (var monitor = new Monitor(new KeywordAnalyzer(), presearcher, config)) {
            List<MonitorQuery> waiting = new ArrayList<>();
            List<Integer> refs = new ArrayList<>();
            int rows = Given.forEachRow(home.resolve("rows"), row -> {
                waiting.add(new MonitorQuery(Integer.toString(refs.size()), query(row, groups)));
                refs.add(row.ref());
                if (waiting.size() == AT_ONCE) {
                    monitor.register(waiting);
                    waiting.clear();
                }
            });
            monitor.register(waiting);
            waiting.clear();
            System.gc();
            Runtime runtime = Runtime.getRuntime();
            int[] refOf = refs.stream().mapToInt(Integer::intValue).toArray();
            Given.serve((probe, into) -> match(monitor, document(probe, groups), refOf, into), rows,
                    runtime.totalMemory() - runtime.freeMemory());
        }
    }

    private static int match(Monitor monitor, Document document, int[] refOf, int[] into) throws IOException {
        int found = 0;
        for (QueryMatch match : monitor.match(document, QueryMatch.SIMPLE_MATCHER).getMatches()) {
            into[found++] = refOf[Integer.parseInt(match.getQueryId())];
        }
        return found;
    }

    private static Query query(Given.Row row, List<Group> groups) {
        var query = new BooleanQuery.Builder().add(term("key", row.key()), Occur.FILTER);
        int rents = row.key() % Given.CLASSES;
        atLeast(query, "rentAbove" + rents, row.rentLow());
        atMost(query, "rentBelow" + rents, row.rentHigh());
        atLeast(query, "areaAbove", row.areaLow());
        atMost(query, "areaBelow", row.areaHigh());
        atMost(query, "deposit", row.deposit());
        atMost(query, "available", row.available());
        for (Group group : groups) {
            var accepted = new BooleanQuery.Builder();
            int count = 0;
            for (int each = 0; each < group.length(); each++) {
                if (group.has(row.words(), each)) {
                    accepted.add(term(group.field(), each), Occur.SHOULD);
                    count++;
                }
            }
            if (count == 0) {
                query.add(term(group.field(), 0), Occur.MUST_NOT);  // the only value of the group
            } else if (count < group.length()) {
                query.add(accepted.build(), Occur.FILTER);
            }
        }
        return query.build();
    }

    private static void atLeast(BooleanQuery.Builder query, String field, int bound) {
        if (bound > 0) {
            query.add(IntPoint.newRangeQuery(field, bound, Integer.MAX_VALUE), Occur.FILTER);
        }
    }

    private static void atMost(BooleanQuery.Builder query, String field, int bound) {
        if (bound < Integer.MAX_VALUE) {
            query.add(IntPoint.newRangeQuery(field, Integer.MIN_VALUE, bound), Occur.FILTER);
        }
    }

    private static Query term(String field, int value) {
        return new TermQuery(new Term(field, Integer.toString(value)));
    }

    private static Document document(Given.Probe probe, List<Group> groups) {
        var document = new Document();
        boolean[] known = new boolean[Given.CLASSES];
        for (Given.Look look : probe.looks()) {
            add(document, "key", look.key());
            int rents = look.key() % Given.CLASSES;
            if (!known[rents]) {  // all looks of a class compare the same
                known[rents] = true;
                document.add(new IntPoint("rentAbove" + rents, look.low()));
                document.add(new IntPoint("rentBelow" + rents, look.high()));
            }
        }
        document.add(new IntPoint("areaAbove", probe.areaLow()));
        document.add(new IntPoint("areaBelow", probe.areaHigh()));
        document.add(new IntPoint("deposit", probe.deposit()));
        document.add(new IntPoint("available", probe.available()));
        for (Group group : groups) {
            for (int each = 0; each < group.length(); each++) {
                if (group.has(probe.words(), each)) {
                    add(document, group.field(), each);
                }
            }
        }
        return document;
    }

    private static void add(Document document, String field, int value) {
        document.add(new StringField(field, Integer.toString(value), Field.Store.NO));
    }
}
