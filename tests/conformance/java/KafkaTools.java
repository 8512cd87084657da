import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.security.Permission;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs tools of Apache Kafka one after the other in one process, which saves most of the time that each would need.
 *
 * A line of standard input is {"class": ..., "arguments": [...], "stdin": ...}; the line written for it is {"code": ...,
 * "out": ..., "err": ...}. A tool that exits is stopped where it does: what it would print while it is unwound is lost.
 */
public final class KafkaTools {
    /** Writes to what is now in charge, so that whoever keeps System.out writes to the right place, too. */
    private static final class Switch extends OutputStream {
        private ByteArrayOutputStream target = new ByteArrayOutputStream();
        private byte[] kept;

        @Override
        public synchronized void write(int b) {
            target.write(b);
        }

        @Override
        public synchronized void write(byte[] bytes, int offset, int length) {
            target.write(bytes, offset, length);
        }

        synchronized void begin() {
            target = new ByteArrayOutputStream();
            kept = null;
        }

        synchronized void keep() {
            if (kept == null) kept = target.toByteArray();
        }

        synchronized String text() {
            return new String(kept == null ? target.toByteArray() : kept, StandardCharsets.UTF_8);
        }
    }

    private static final class Exited extends Error {}

    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();
    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static Integer code;

    @SuppressWarnings("removal")
    public static void main(String[] arguments) throws Exception {
        PrintStream answers = System.out;
        BufferedReader cases = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.setExitProcedure((status, message) -> exit(status));
        Exit.setHaltProcedure((status, message) -> exit(status));
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        System.setSecurityManager(new SecurityManager() { // some tools exit without asking Kafka's Exit
            @Override
            public void checkExit(int status) {
                exit(status);
            }

            @Override
            public void checkPermission(Permission permission) {}

            @Override
            public void checkPermission(Permission permission, Object context) {}
        });
        ObjectMapper mapper = new ObjectMapper();
        for (String line = cases.readLine(); line != null; line = cases.readLine()) {
            JsonNode given = mapper.readTree(line);
            List<String> words = new ArrayList<>();
            given.get("arguments").forEach(word -> words.add(word.asText()));
            run(given.get("class").asText(), words.toArray(new String[0]), given.get("stdin").asText());
            ObjectNode answer = mapper.createObjectNode();
            answer.put("code", code).put("out", OUT.text()).put("err", ERR.text());
            answers.println(mapper.writeValueAsString(answer));
            answers.flush();
        }
    }

    private static void exit(int status) {
        if (code == null) {
            code = status;
            OUT.keep();
            ERR.keep();
        }
        throw new Exited();
    }

    private static void run(String name, String[] words, String stdin) throws Exception {
        InputStream before = System.in;
        System.setIn(new ByteArrayInputStream(stdin.getBytes(StandardCharsets.UTF_8)));
        OUT.begin();
        ERR.begin();
        code = null;
        HOOKS.clear();
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) words);
        } catch (InvocationTargetException error) {
            if (code == null) {
                error.getCause().printStackTrace();
                code = 1;
            }
        } finally {
            for (Runnable hook : HOOKS) hook.run();
            System.setIn(before);
            if (code == null) code = 0;
        }
    }
}
